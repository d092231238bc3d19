"""The bundle for tests of whole programs, kept in .cache: TensorFlow is loaded twice to make it.

The key is the content of all that it follows from, so that a bundle of other sources is never taken for today's.
"""

from __future__ import annotations

import contextlib
import hashlib
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import distributions
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER, KEPT_MAX = ROOT / ".cache" / "test-bundles", 4


def kept(folder: Path, make: Callable[[Path], object]) -> None:
    """Put into `folder` what `make` once put into such a one, or let it do so now."""
    place = FOLDER / _key()
    if place.exists():
        for file in place.iterdir():
            shutil.copyfile(file, folder / file.name)
        return
    make(folder)
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=FOLDER, prefix=".") as scratch, contextlib.suppress(OSError):
        # whole or not at all; another run may have kept the same meanwhile
        shutil.copytree(folder, Path(scratch) / "whole").rename(place)
    complete = sorted(FOLDER.glob("[!.]*"), key=lambda path: path.stat().st_mtime)
    for old in complete[:-KEPT_MAX]:
        shutil.rmtree(old, ignore_errors=True)


def _key() -> str:
    """Of our sources, the model's and the command's, the Python, the processor and every installed package."""
    files = [path for package in ("converter", "headway") for path in sorted((ROOT / package).rglob("*"))]
    files = [path for path in files if path.is_file() and path.suffix != ".pyc"]
    sources = [(str(path.relative_to(ROOT)), path.read_bytes()) for path in files]
    sources += [(name, Path(__file__).with_name(name).read_bytes()) for name in ("make_model.py", "conftest.py")]
    installed = sorted(f"{one.name} {one.version}" for one in distributions())
    return hashlib.sha256(repr((sources, sys.version, platform.machine(), installed)).encode()).hexdigest()
