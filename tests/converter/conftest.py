"""Models that are open in the tests' own process are converted by one process of the frameworks, begun once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from converter.export import Exporter


@pytest.fixture(scope="session")
def _exporter() -> Iterator[Exporter]:
    with Exporter() as exporter:
        yield exporter


@pytest.fixture(autouse=True)
def _begun_once(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """To load TensorFlow takes longer than to convert such a model. Files are opened in a process of their own."""
    conversion = import_module("converter.convert")  # the package has a function of that name
    own = conversion.frameworks

    def frameworks(model: Any, log: bool) -> AbstractContextManager[Exporter]:
        if log or isinstance(model, (str, Path)):
            return own(model, log)
        return nullcontext(request.getfixturevalue("_exporter"))

    monkeypatch.setattr(conversion, "frameworks", frameworks)
