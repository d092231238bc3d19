"""axe-core, which finds what keeps people from reading a page; fetched once from npm, and checked."""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

VERSION = "4.14.1"
SHA512 = "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ=="
CACHE = Path(__file__).resolve().parents[2] / ".cache" / "axe-core"


def axe_source() -> str:
    """The library. Skips the test where npm does not give it."""
    file = CACHE / f"axe-{VERSION}.min.js"
    if not file.exists():
        if shutil.which("npm") is None:
            pytest.skip("axe-core is fetched with npm, which is not installed")
        CACHE.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            ["npm", "pack", f"axe-core@{VERSION}", "--silent"], cwd=CACHE, capture_output=True, text=True, timeout=120
        )
        if done.returncode:
            pytest.skip("axe-core cannot be fetched from npm now")
        packed = CACHE / f"axe-core-{VERSION}.tgz"
        assert base64.b64encode(hashlib.sha512(packed.read_bytes()).digest()).decode() == SHA512
        with tarfile.open(packed) as archive:
            member = archive.extractfile("package/axe.min.js")
            assert member is not None
            file.write_bytes(member.read())
        packed.unlink()
    return file.read_text()


def violations(tab: Any) -> list[str]:
    """What axe says of an open page: rule, impact and where."""
    tab.evaluate(axe_source())
    found = tab.evaluate("async () => (await axe.run(document, {resultTypes: ['violations']})).violations")
    return [
        f"{each['id']} ({each['impact']}): {[node['target'][0] for node in each['nodes']][:4]}" for each in found
    ]  # fmt: skip
