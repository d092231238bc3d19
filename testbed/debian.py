"""Whole Debian systems: trees that mmdebstrap makes, kept in .cache/debian as archives. Linux, root.

What is missing on this machine is said in one line (`why_not`); nothing here is installed by hand.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

CACHE = Path(__file__).resolve().parent.parent / ".cache" / "debian"
MAKE_TIMEOUT_S = 1500.0


class DebianFailed(RuntimeError):
    """A tree could not be made; the message ends with what mmdebstrap said last."""


@dataclass(frozen=True, slots=True)
class Debian:
    """One release for one machine. suite: "bookworm" (12), "trixie" (13). architecture: Debian's name of it.

    variant: of mmdebstrap; "extract" unpacks the packages without running any of their code, for other machines.
    """

    suite: str
    packages: tuple[str, ...]
    architecture: str = "amd64"
    variant: str = "minbase"

    def unpack(self, tree: Path) -> None:
        """A fresh copy of the system in the new folder `tree`. Raises DebianFailed."""
        archive = self._archive()
        tree.mkdir(parents=True)
        _run("tar", "-xf", str(archive), "-C", str(tree))

    def _archive(self) -> Path:
        mark = hashlib.sha256(" ".join(self.packages).encode()).hexdigest()[:8]
        archive = CACHE / f"{self.suite}-{self.architecture}-{self.variant}-{mark}.tar"
        CACHE.mkdir(parents=True, exist_ok=True)
        with (CACHE / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not archive.exists():
                part = archive.with_suffix(".part.tar")
                words = [
                    "mmdebstrap",
                    "--mode=root",
                    f"--variant={self.variant}",
                    f"--architectures={self.architecture}",
                ]
                _run(*words, f"--include={','.join(self.packages)}", self.suite, str(part))
                part.rename(archive)
        return archive


def why_not(*tools: str) -> str:
    """Why no tree can be made and used here, with the command that mends it; '' when it can.

    tools: programs beside mmdebstrap, each "program:package of Debian".
    """
    if os.geteuid() != 0:
        return "whole Debian systems need root"
    for tool in ("mmdebstrap:mmdebstrap", "unshare:util-linux", "tar:tar", *tools):
        program, package = tool.split(":")
        if shutil.which(program) is None:
            return f"{program} is missing: apt-get install {package}"
    return ""


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=MAKE_TIMEOUT_S, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise DebianFailed(f"{command[0]}: {' | '.join(done.stderr.strip().splitlines()[-3:])}")
