"""Finding mosquitto, or fetching it on Debian and its kin without root: no Python package ships an MQTT 5 broker."""

from __future__ import annotations

import fcntl
import os
import platform
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CACHE = Path(__file__).resolve().parent.parent / ".cache" / "mosquitto"
FETCH_TIMEOUT_S = 300.0


class MosquittoMissing(RuntimeError):
    """There is no mosquitto here and it cannot be fetched; the message names the command that installs it."""

    def __init__(self, why: str) -> None:
        super().__init__(
            f"mosquitto is needed and {why}; install it: apt install mosquitto | brew install mosquitto | "
            "pacman -S mosquitto"
        )


@dataclass(frozen=True, slots=True)
class Mosquitto:
    """A broker that runs: its program, and the folder of libraries it came with ('' for the system's own)."""

    program: Path
    library_path: str = ""

    def environment(self) -> dict[str, str]:
        """The environment to start it with."""
        environment = dict(os.environ)
        if self.library_path:
            environment["LD_LIBRARY_PATH"] = self.library_path
        return environment


def find_or_fetch(cache: Path = CACHE, path: str | None = None) -> Mosquitto:
    """The mosquitto on PATH (or in the sbin folders), else one from Debian's packages, kept in `cache`.

    Raises MosquittoMissing, one line, when neither works.
    """
    search = os.environ.get("PATH", "") if path is None else path
    found = shutil.which("mosquitto", path=search + (":/usr/sbin:/usr/local/sbin" if path is None else ""))
    if found:
        return Mosquitto(Path(found))
    root = cache / platform.machine()
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run in several processes; one of them fetches
        if not (root / "complete").exists():
            _fetch(root, search)
    mosquitto = _in_tree(root)
    problem = _problem(mosquitto)
    if problem:
        raise MosquittoMissing(f"the one fetched into {root} does not start ({problem})")
    return mosquitto


def _fetch(root: Path, search: str) -> None:
    """Download and unpack packages beside `root`, then move the tree into place in one step."""
    for tool in ("apt-get", "dpkg"):
        if shutil.which(tool, path=search) is None:
            raise MosquittoMissing(f"is not on PATH, nor is {tool} to fetch it with")
    with tempfile.TemporaryDirectory(dir=root.parent, prefix=".fetch-") as scratch:
        work = Path(scratch)
        tree = work / "tree"
        apt = _Apt(work)
        apt.unpack("mosquitto", tree)
        # which libraries are missing differs from release to release: ask the program, and unpack until it is content
        for package in apt.missing_libraries_of("mosquitto"):
            if _starts(_in_tree(tree)):
                break
            apt.unpack(package, tree)
        (tree / "complete").touch()
        os.rename(tree, root)


class _Apt:
    """apt-get without root: the system's package lists if there are any, else lists of our own."""

    def __init__(self, work: Path) -> None:
        self._work = work
        self._options: list[str] = []
        self._have: set[str] = set()
        if not self._runs("apt-cache", "show", "mosquitto"):
            self._update()

    def unpack(self, package: str, tree: Path) -> None:
        """Download one package and unpack it into `tree`; a package already there is left alone."""
        if package in self._have:
            return
        self._have.add(package)
        folder = self._work / f"deb-{package}"
        folder.mkdir()
        result = self._run("apt-get", "download", package, cwd=folder)
        archives = list(folder.glob("*.deb"))
        if result.returncode or not archives:
            raise MosquittoMissing(f"apt-get download {package} failed ({_last_line(result.stderr)})")
        unpacked = subprocess.run(["dpkg", "-x", str(archives[0]), str(tree)], capture_output=True, text=True)
        if unpacked.returncode:
            raise MosquittoMissing(f"dpkg -x {package} failed ({_last_line(unpacked.stderr)})")

    def missing_libraries_of(self, package: str) -> Iterator[str]:
        """Library packages that `package` depends on and this system lacks, nearest first."""
        waiting, seen = [package], {package}
        while waiting:
            shown = self._run("apt-cache", "depends", "--no-recommends", "--no-suggests", waiting.pop(0)).stdout
            for name in re.findall(r"^\s*(?:Pre)?Depends: ([a-z0-9][a-z0-9+.-]*)", shown, flags=re.MULTILINE):
                if not name.startswith("lib") or name in seen or self._runs("dpkg", "--status", name):
                    continue
                seen.add(name)
                waiting.append(name)
                yield name

    def _update(self) -> None:
        """Fetch package lists: into the system if we are root, else into a private state folder."""
        if os.geteuid() != 0:
            state = self._work / "apt"
            for folder in ("lists/partial", "cache/archives/partial"):
                (state / folder).mkdir(parents=True)
            self._options = ["-o", f"Dir::State::lists={state}/lists", "-o", f"Dir::Cache={state}/cache"]
        result = self._run("apt-get", "update")
        if not self._runs("apt-cache", "show", "mosquitto"):
            raise MosquittoMissing(f"apt-get update brought no such package ({_last_line(result.stderr)})")

    def _runs(self, *command: str) -> bool:
        return self._run(*command).returncode == 0

    def _run(self, *command: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        if os.geteuid() == 0 and command[0] == "apt-get":
            # apt drops to a user of its own, who may not enter our folder
            command = (command[0], "-o", "APT::Sandbox::User=root", *command[1:])
        program, *arguments = command
        return subprocess.run(
            [program, *(self._options if program.startswith("apt") else []), *arguments],
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=FETCH_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
        )


def _in_tree(tree: Path) -> Mosquitto:
    folders = sorted({str(library.parent) for library in tree.rglob("*.so*")})
    return Mosquitto(tree / "usr" / "sbin" / "mosquitto", ":".join(folders))


def _starts(mosquitto: Mosquitto) -> bool:
    return not _problem(mosquitto)


def _problem(mosquitto: Mosquitto) -> str:
    """Why the program does not start; '' when it does. mosquitto -h prints its version and leaves with 3 or 0."""
    try:
        shown = subprocess.run(
            [str(mosquitto.program), "-h"], capture_output=True, text=True, env=mosquitto.environment(), timeout=30
        )
    except OSError as error:
        return str(error.strerror)
    return "" if "mosquitto version" in shown.stdout else _last_line(shown.stderr)


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "no message"
