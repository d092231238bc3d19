"""One recipe, one seed, as a process of its own runs it."""

from __future__ import annotations

import importlib
from typing import Any

from recipes.measuring import Measured
from recipes.networks import Workspace


def run_seed(name: str, workspace: Workspace, seed: int) -> list[Measured]:
    """One recipe, one seed. Raises FileNotFoundError where its data is not at hand."""
    recipe: Any = importlib.import_module(f"recipes.{name}")
    found: list[Measured] = recipe.run(workspace, seed)
    return found
