"""Faces of rooms that load what is in them when somebody asks for it: a command waits for nothing else."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def loaded_later(face: str, where: Mapping[str, str]) -> Callable[[str], Any]:
    """What a face has as its ``__getattr__``. face: its ``__name__``. where: by module, the names in it, with spaces.

    The face imports the same names for type checkers, behind `TYPE_CHECKING`; a test compares the two.
    """
    modules = {name: module for module, names in where.items() for name in names.split()}

    def load(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {face!r} has no attribute {name!r}")
        found = getattr(import_module(f"{face}.{modules[name]}"), name)
        vars(sys.modules[face])[name] = found  # asked for once
        return found

    return load
