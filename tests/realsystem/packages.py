"""Our own Debian packages for the machines of these tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.architecture.rules import ROOT

BUILD_TIMEOUT_S = 600
# the last commit before states had a check sum and what was learned could branch: it knows schema 3 of 5
EARLIER = "c1e2bd2d88a893607a648199229b32d24b9b8994"
EARLIER_VERSION = "0.2.0~schema3"


def package(program: str, system: str, machine: str, folder: Path) -> Path:
    """A package as `make deb` builds it, in `folder`; one that lies in the folder DEBS names is taken instead.

    system: "deb12" or "deb13". machine: Debian's name of it.
    """
    built = os.environ.get("DEBS")
    if built:
        found = sorted(Path(built).glob(f"{program}_[0-9.]*[0-9]+{system}_{machine}.deb"))
        if found:
            return found[-1]
    return _built(program, system, machine, folder)


def earlier_agent(system: str, machine: str, folder: Path) -> Path:
    """The agent as it was before two changes of its state's schema, packed as today's is, from git's history."""
    tree = folder / "earlier"
    tree.mkdir()
    archive = subprocess.run(["git", "archive", EARLIER], cwd=ROOT, capture_output=True, check=True).stdout
    subprocess.run(["tar", "-x", "-C", str(tree)], input=archive, check=True)
    words = ("--source", str(tree), "--version", EARLIER_VERSION)
    return _built("headway-agent", system, machine, folder, *words)


def no_earlier_agent() -> str:
    """Why it cannot be packed here; '' when it can."""
    looked = subprocess.run(["git", "cat-file", "-e", EARLIER], cwd=ROOT, capture_output=True)
    return "git's history does not reach back to the earlier agent here" if looked.returncode else ""


def _built(program: str, system: str, machine: str, folder: Path, *options: str) -> Path:
    command = [sys.executable, "-m", "scripts.deb", program, system, machine, "--out", str(folder), *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S)
    if done.returncode:
        raise RuntimeError(f"make deb: {done.stderr.strip()[-300:]}")
    return Path(done.stdout.strip())
