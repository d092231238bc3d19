"""Our own Debian packages for the machines of these tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.architecture.rules import ROOT

BUILD_TIMEOUT_S = 600


def package(program: str, system: str, machine: str, folder: Path) -> Path:
    """A package as `make deb` builds it, in `folder`; one that lies in the folder DEBS names is taken instead.

    system: "deb12" or "deb13". machine: Debian's name of it.
    """
    built = os.environ.get("DEBS")
    if built:
        found = sorted(Path(built).glob(f"{program}_*+{system}_{machine}.deb"))
        if found:
            return found[-1]
    command = [sys.executable, "-m", "scripts.deb", program, system, machine, "--out", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S)
    if done.returncode:
        raise RuntimeError(f"make deb: {done.stderr.strip()[-300:]}")
    return Path(done.stdout.strip())
