"""Packages of an extra that a test needs: skipped where it is missing, and loaded only when the test runs."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

import pytest


class _WhenUsed:
    """A module that is imported when something of it is asked for."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        # pytest asks every object of a module whether it is a mock, and wants no answer of TensorFlow's
        if name.startswith("_"):
            raise AttributeError(name)
        if self._name.partition(".")[0] in ("keras", "tensorflow"):
            import_frameworks()
        return getattr(importlib.import_module(self._name), name)


def import_frameworks() -> None:
    """TensorFlow and Keras as the converter loads them: what Keras loads beside itself takes as long again."""
    from converter.loading import load_tensorflow

    load_tensorflow()


def when_used(name: str) -> Any:
    """In place of `pytest.importorskip` at the top of a module.

    Every process of tests collects all of them: TensorFlow, which takes seconds and 400 MB, or
    scikit-learn is loaded where it is used.
    """
    if importlib.util.find_spec(name.partition(".")[0]) is None:
        pytest.skip(f"{name} is not installed", allow_module_level=True)
    return _WhenUsed(name)
