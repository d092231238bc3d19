"""One recipe, one seed, as a process of its own runs it."""

from __future__ import annotations

import importlib
import resource
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from recipes.measuring import Measured
from recipes.networks import Workspace


@dataclass(frozen=True, slots=True)
class Noting(Workspace):
    """missing: files that were asked for and are not at hand."""

    missing: list[str] = field(default_factory=list)

    def file(self, name: str) -> Path:
        try:
            return Workspace.file(self, name)
        except FileNotFoundError:
            self.missing.append(name)
            raise


def run_seed(name: str, workspace: Workspace, seed: int) -> tuple[list[Measured], float]:
    """One recipe, one seed: its streams, and the seconds of a processor that they took, in all its processes. What is
    left out, or replaced by what a package brings, is noted at the last of them.

    Raises FileNotFoundError where its data is not at hand.
    """
    recipe: Any = importlib.import_module(f"recipes.{name}")
    noting = Noting(workspace.data, workspace.cache, workspace.fresh, workspace.seeds)
    begun_s = processor_s()
    found: list[Measured] = recipe.run(noting, seed)
    if noting.missing:
        files = ", ".join(dict.fromkeys(noting.missing))
        told = f"{files} is not at hand (--data FOLDER): this page shows what packages bring"
        found[-1] = replace(found[-1], notes=(*found[-1].notes, told))
    return found, processor_s() - begun_s


def processor_s() -> float:
    """Of this process and of those that it has ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)
