"""Tests that need packages of an extra do not load them while pytest collects."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.optional import when_used


def test_a_module_is_loaded_when_a_test_asks_for_something_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "loads_for_seconds.py").write_text("raise RuntimeError('loaded')")
    monkeypatch.syspath_prepend(tmp_path)
    module = when_used("loads_for_seconds")
    assert getattr(module, "_mock_name", None) is None  # pytest's own question, for every object of a test's module
    with pytest.raises(RuntimeError, match="loaded"):
        _ = module.layers
