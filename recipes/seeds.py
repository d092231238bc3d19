"""One recipe, one seed, as a process of its own runs it."""

from __future__ import annotations

import importlib
import resource
from typing import Any

from recipes.measuring import Measured
from recipes.networks import Workspace


def run_seed(name: str, workspace: Workspace, seed: int) -> tuple[list[Measured], float]:
    """One recipe, one seed: its streams, and the seconds of a processor that they took, in all its processes.

    Raises FileNotFoundError where its data is not at hand.
    """
    recipe: Any = importlib.import_module(f"recipes.{name}")
    begun_s = processor_s()
    found: list[Measured] = recipe.run(workspace, seed)
    return found, processor_s() - begun_s


def processor_s() -> float:
    """Of this process and of those that it has ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)
