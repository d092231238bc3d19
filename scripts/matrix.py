"""Runs the device's tests in each environment that a device may have, and writes docs/reference/environments.md.

    make matrix                        # all four, one after the other; what passed with this very code is not run again
    MATRIX=3.13:litert make matrix     # one, in any case

Each environment is made in .cache/matrix-*, without TensorFlow. A Python that is not installed is said and left out.
The exit code is 1 if a suite failed or none could run; the page is written once each of the four has a result with this
very code. A run that was ended goes on with the environment that it was in.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reference" / "environments.md"
SUITES = ("tests/edge_agent", "tests/headway", "tests/contract")
# what a result depends on; the suites take fakes of the server and files of earlier versions from other tests
CODE = ("edge_agent", "headway", "aggregator", "testbed", "systemd", "tests/aggregator", "tests/golden", *SUITES)
SUITE_TIMEOUT_S = 3600
LIBRARIES = "import importlib.metadata as m; print(m.version('numpy'), m.version('{}'))"
HEAD = """\
# Environments in which the device's tests ran

Written by `make matrix`: the same tests
(`{suites}`)
in each environment that a device may have, on {machine}. A row tells of
the commit that it names, not of today's code; `+` behind it: with changes that were not committed then. What else goes
together: [combinations.md](combinations.md).

| Python | NumPy | runtime | passed | failed | skipped | commit | ended (UTC) |
|---|---|---|---|---|---|---|---|
"""
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Environment:
    """One Python with one inference runtime. extra: of pyproject.toml; runtime: the distribution that it brings."""

    python: str
    extra: str
    runtime: str

    @property
    def name(self) -> str:
        return f"{self.python}:{self.extra}"

    @property
    def folder(self) -> Path:
        return ROOT / ".cache" / f"matrix-{self.python}-{self.extra}"

    @property
    def result(self) -> Path:
        return self.folder.with_suffix(self.folder.suffix + ".result.json")


ENVIRONMENTS = (
    Environment("3.11", "tflite", "tflite-runtime"),
    Environment("3.11", "litert", "ai-edge-litert"),
    Environment("3.13", "litert", "ai-edge-litert"),
    Environment("3.11", "onnx", "onnxruntime"),
)


@dataclass(frozen=True, slots=True)
class Result:
    """What a suite found, in what, and when it ended. code: digest of the code that ran (`code_digest`); commit: where
    git had it, with `+` for changes beside it.
    """

    python: str
    numpy: str
    runtime: str
    passed: int
    failed: int
    skipped: int
    code: str = ""
    commit: str = UNKNOWN
    ended: str = UNKNOWN

    @property
    def is_good(self) -> bool:
        return self.passed > 0 and not self.failed


def main() -> int:
    asked = os.environ.get("MATRIX", "").split()
    if unknown := set(asked) - {environment.name for environment in ENVIRONMENTS}:
        sys.exit(f"error: MATRIX names {', '.join(sorted(unknown))}; known: {', '.join(e.name for e in ENVIRONMENTS)}")
    code = code_digest()
    results = []
    for environment in ENVIRONMENTS:
        if asked and environment.name not in asked:
            continue
        found = kept(environment, code)
        if found is None or not found.is_good or asked:
            found = run(environment, code)
        if found is None:
            print(f"==> Python {environment.python} is not installed; {environment.extra} on it is left out")
            continue
        environment.result.write_text(json.dumps(asdict(found)))
        results.append(found)
        print(f"==> {_row(found)}", flush=True)
    known = [found for environment in ENVIRONMENTS if (found := kept(environment, code))]
    if len(known) == len(ENVIRONMENTS):
        PAGE.write_text(page(known), encoding="utf-8")
        print(PAGE.relative_to(ROOT))
    return int(not results or not all(result.is_good for result in results))


def run(environment: Environment, code: str) -> Result | None:
    """The suite in its environment; None where its Python is not installed."""
    base = _find_python(environment.python)
    if base is None:
        return None
    print(f"==> Python {environment.python} with [{environment.extra}]", flush=True)
    commit = commit_of_code()
    own = {**os.environ, "PYTHON": base, "EXTRAS": f"{environment.extra},signing,aggregator,dev"}
    own.pop("PIP_CONSTRAINT", None)  # constraints.txt holds NumPy 2
    own.pop("PYTHONPATH", None)
    subprocess.run([ROOT / "scripts" / "setup.sh", environment.folder], cwd=ROOT, env=own, check=True)
    python, report = str(environment.folder / "bin" / "python"), environment.folder / "report.xml"
    report.unlink(missing_ok=True)
    words = ["-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}"]
    command = [python, *words, *os.environ.get("WORKERS", "").split(), *SUITES]
    subprocess.run(command, cwd=ROOT, env=own, timeout=SUITE_TIMEOUT_S)
    if not report.exists():
        sys.exit(f"error: the tests of {environment.name} wrote no report; what pytest said is above")
    said = subprocess.run([python, "-c", LIBRARIES.format(environment.runtime)], capture_output=True, text=True)
    numpy, version = said.stdout.split()
    full = subprocess.run([python, "-V"], capture_output=True, text=True).stdout.split()[1]
    (suite,) = ElementTree.parse(report).getroot()
    tests, skipped = int(suite.attrib["tests"]), int(suite.attrib["skipped"])
    failed = int(suite.attrib["failures"]) + int(suite.attrib["errors"])
    runtime, passed = f"{environment.runtime} {version}", tests - failed - skipped
    return Result(full, numpy, runtime, passed, failed, skipped, code, commit, f"{datetime.now(UTC):%Y-%m-%d %H:%M}")


def page(results: list[Result]) -> str:
    """The whole page."""
    suites = "`, `".join(SUITES)
    machine = f"{os.cpu_count()} shared {platform.machine()} cores".replace("_", "-")
    return HEAD.format(suites=suites, machine=machine) + "\n".join(_row(result) for result in results) + "\n"


def _row(result: Result) -> str:
    counts = f"{result.passed} | {result.failed} | {result.skipped}"
    return f"| {result.python} | {result.numpy} | {result.runtime} | {counts} | {result.commit} | {result.ended} |"


def code_digest() -> str:
    """Digest of the code that the suites run, so that a result can be told from one of other code."""
    made = hashlib.sha256()
    paths = [ROOT / "pyproject.toml", *(ROOT / "tests").glob("*.py")]
    paths += [path for folder in CODE for path in (ROOT / folder).rglob("*")]
    for path in sorted(path for path in paths if path.is_file() and path.suffix != ".pyc"):
        made.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes() + b"\0")
    return made.hexdigest()


def commit_of_code() -> str:
    """The commit that is checked out, with `+` where the code that the suites run differs from it."""
    head = subprocess.run(["git", "rev-parse", "--short=10", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    if head.returncode:
        return UNKNOWN  # no checkout
    words = ["git", "status", "--porcelain", "--", "pyproject.toml", "tests/*.py", *CODE]
    changed = subprocess.run(words, cwd=ROOT, capture_output=True, text=True).stdout
    return head.stdout.strip() + ("+" if changed else "")


def kept(environment: Environment, code: str) -> Result | None:
    """What an earlier run with this very code found here."""
    if not environment.result.exists():
        return None
    found = Result(**json.loads(environment.result.read_text()))
    return found if found.code == code else None


def _find_python(version: str) -> str | None:
    """On PATH, where a shim of pyenv may stand for a version that is not the active one, or among pyenv's own."""
    pyenv = shutil.which("pyenv")
    home = subprocess.run([pyenv, "root"], capture_output=True, text=True).stdout.strip() if pyenv else ""
    places = [
        shutil.which(f"python{version}"),
        *map(str, Path(home or "/none").glob(f"versions/{version}.*/bin/python")),
    ]
    for place in filter(None, places):
        said = subprocess.run([place, "-V"], capture_output=True, text=True).stdout
        if said.startswith(f"Python {version}."):
            return place
    return None


if __name__ == "__main__":
    sys.exit(main())
