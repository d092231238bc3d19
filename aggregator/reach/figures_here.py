"""Figures of this machine's fleet, as the page shows them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from aggregator import operations
from aggregator.operations import Operator

if TYPE_CHECKING:
    from headway_client import models

T = TypeVar("T")


class Looking(Protocol):
    """Asks something in one picture of the store."""

    def __call__(self, asked: Callable[[Operator], T]) -> T: ...


class LocalFigures:
    """Implements `aggregator.reach.protocol.Figures`. folder: the state folder, found out when it is needed."""

    def __init__(self, look: Looking, folder: Callable[[], Path]) -> None:
        self._look, self._folder = look, folder

    def fields(self) -> list[models.FieldView]:
        found: Any = [asdict(view) for view in self._look(lambda operator: operations.fields_now(operator.store))]
        return cast("list[models.FieldView]", found)

    def head_versions(self, space: str) -> list[models.HeadVersion]:
        samples = operations.samples_kept(self._folder())
        heads = self._look(lambda operator: operations.head_versions(operator.store, space, samples))
        found: Any = [asdict(head) for head in heads]
        return cast("list[models.HeadVersion]", found)

    def compare_heads(self, space: str, first: int, second: int) -> models.ComparedHeads:
        samples = operations.samples_kept(self._folder())
        found: Any = self._look(
            lambda operator: operations.compare_heads(operator.store, space, first, second, samples)
        )
        return cast("models.ComparedHeads", asdict(found))

    def heads_of(self, device: str) -> list[models.HeadSpanView]:
        found: Any = [asdict(span) for span in self._look(lambda operator: operations.heads_of(operator, device))]
        return cast("list[models.HeadSpanView]", found)

    def confusion(self, device: str) -> models.ConfusionView:
        found: Any = self._look(lambda operator: operations.device_confusion(operator, device))
        return cast("models.ConfusionView", asdict(found))

    def stages(self, rollout: str) -> list[models.StageView]:
        stages = self._look(lambda operator: operations.rollout_stages(operator.store, rollout))
        found: Any = [asdict(stage) for stage in stages]
        return cast("list[models.StageView]", found)
