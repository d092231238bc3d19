"""Which Python, inference runtime and system go together; what cannot work is said before anything is installed."""

from __future__ import annotations

import importlib.util
import platform
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from headway.errors import RuntimeUnavailableError

RUNTIMES = {"ai-edge-litert": "ai_edge_litert", "tflite-runtime": "tflite_runtime", "onnxruntime": "onnxruntime"}
PYTHONS = ((3, 11), (3, 12), (3, 13))
# wheels that the projects publish; machine as `uname -m` names it
MACHINES = {
    "ai-edge-litert": ("x86_64", "aarch64"),
    "tflite-runtime": ("x86_64", "aarch64", "armv7l"),
    "onnxruntime": ("x86_64", "aarch64"),
}
TFLITE_PYTHON_MAX = (3, 11)


@dataclass(frozen=True, slots=True)
class Combination:
    """What one environment consists of. runtime: a distribution's name; numpy: its version, "" where unknown."""

    python: tuple[int, int]
    machine: str
    runtime: str
    numpy: str = ""
    libc: str = "glibc"

    def conflict(self) -> str | None:
        """Why it cannot work although it is installed, in one line; a build of one's own needs no published wheel."""
        if self.runtime == "tflite-runtime" and self.numpy and int(re.findall(r"\d+", self.numpy)[0]) >= 2:
            return f"tflite-runtime needs numpy<2, found {self.numpy}: pip install 'numpy<2'"
        return None

    def problem(self) -> str | None:
        """Why it cannot be installed or cannot work, and what to do, in one line; None where nothing is known."""
        python = ".".join(map(str, self.python))
        if self.python not in PYTHONS:
            return f"Python {python} is not supported; use 3.11, 3.12 or 3.13"
        if self.libc not in ("glibc", ""):
            return f"no inference runtime has wheels for {self.libc}; use a system with glibc, such as Debian"
        if self.machine not in MACHINES[self.runtime]:
            others = " or ".join(name for name, machines in MACHINES.items() if self.machine in machines)
            if others:
                return f"{self.runtime} has no wheels for {self.machine}; use {others}"
            return f"no inference runtime has wheels for {self.machine}; use a 64-bit system (aarch64 or x86_64)"
        if self.runtime == "tflite-runtime" and self.python > TFLITE_PYTHON_MAX:
            advice = "pip install 'headway[litert]'" if self.machine != "armv7l" else "use Python 3.11 (Debian 12)"
            return f"tflite-runtime ends with Python 3.11, this is {python}; {advice}"
        return self.conflict()


def combination_here(runtime: str) -> Combination:
    """This environment with one of the runtimes."""
    python = (sys.version_info.major, sys.version_info.minor)
    return Combination(python, platform.machine(), runtime, np.__version__, platform.libc_ver()[0] or "musl")


def installed_runtimes() -> dict[str, Combination]:
    """The runtimes of this environment, by distribution, with what they run on."""
    return {
        name: combination_here(name)
        for name, module in RUNTIMES.items()
        if importlib.util.find_spec(module) is not None
    }


def fitting_runtime(runtimes: Mapping[str, Combination]) -> str:
    """The first runtime that can work. Raises RuntimeUnavailableError, one line, where none can."""
    problems = []
    for name, combination in runtimes.items():
        problem = combination.problem()
        if problem is None:
            return name
        problems.append(problem)
    if problems:
        raise RuntimeUnavailableError("; ".join(problems))
    options = [name for name in RUNTIMES if combination_here(name).problem() is None]
    if not options:
        raise RuntimeUnavailableError(str(combination_here("tflite-runtime").problem()))
    raise RuntimeUnavailableError(f"no inference runtime is installed; pip install {options[0]}")
