"""Conversions of these tests need not wait for TensorFlow each: `tests/converter/frameworks.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from converter.export.export import Exporter
from tests.converter.frameworks import Forked, loaded_frameworks

_started = Exporter._start


@pytest.fixture(scope="session")
def _frameworks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Forked]]:
    with loaded_frameworks(tmp_path_factory.mktemp("frameworks")) as begin:
        yield begin


@pytest.fixture(autouse=True)
def _forked(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(exporter: Exporter) -> object:
        if not exporter._tensorflow or exporter._log:
            return _started(exporter)
        return request.getfixturevalue("_frameworks")()

    monkeypatch.setattr(Exporter, "_start", start)
