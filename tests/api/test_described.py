"""The API does what its own description says, for requests that schemathesis makes up from it, good and bad ones."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from aggregator.access import Role
from tests.api.fleet import Fleet
from tests.optional import when_used

if TYPE_CHECKING:
    import schemathesis
else:
    schemathesis = when_used("schemathesis")

DOCUMENT = json.loads((Path(__file__).parents[2] / "docs" / "openapi.json").read_text())
OPERATIONS = [(path, method) for path, methods in DOCUMENT["paths"].items() for method in methods]
NOTHING_TO_BREAK = [("/v1/health", "get")]


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as made:
        yield Path(made)


@pytest.fixture(scope="module")
def fleet(folder: Path) -> Fleet:
    return Fleet(folder)


@pytest.fixture(scope="module")
def described(fleet: Fleet) -> schemathesis.BaseSchema:
    return schemathesis.openapi.from_asgi("/v1/openapi.json", fleet.app())


def holds(schema: schemathesis.BaseSchema, fleet: Fleet, path: str, method: str, examples: int) -> None:
    """For requests as described, and for those that break the description in one place or another."""
    from schemathesis import GenerationMode
    from schemathesis.specs.openapi.checks import positive_data_acceptance

    # a valid text need not be a filter, nor a valid plan of a rollout fit the fleet: no schema knows what can be known
    not_said = [positive_data_acceptance]
    headers = dict(fleet.as_(Role.ADMIN))
    modes = [GenerationMode.POSITIVE] if (path, method) in NOTHING_TO_BREAK else list(GenerationMode)
    for mode in modes:

        @given(case=schema[path][method].as_strategy(generation_mode=mode))
        @settings(max_examples=examples, deadline=None, derandomize=True, database=None, phases=[Phase.generate],
                  suppress_health_check=list(HealthCheck))  # fmt: skip
        def answered(case: schemathesis.Case) -> None:
            case.call_and_validate(headers=headers, excluded_checks=not_said)

        answered()


@pytest.mark.parametrize(("path", "method"), OPERATIONS, ids=lambda word: word)
def test_it_answers_as_described(described: schemathesis.BaseSchema, fleet: Fleet, path: str, method: str) -> None:
    holds(described, fleet, path, method, 6)


@pytest.mark.slow
@pytest.mark.parametrize(("path", "method"), OPERATIONS, ids=lambda word: word)
def test_it_does_so_for_many_requests(described: schemathesis.BaseSchema, fleet: Fleet, path: str, method: str) -> None:
    holds(described, fleet, path, method, 150)
