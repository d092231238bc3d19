"""Cases that only `make nightly` runs, beside cheaper ones of the same test that every `make test` does."""

from __future__ import annotations

from typing import Any

import pytest


def nightly(*values: object) -> Any:
    """In place of `pytest.param`."""
    return pytest.param(*values, marks=pytest.mark.slow)
