"""Figures of a fleet elsewhere, asked of its API."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headway_client import Client, models


class RemoteFigures:
    """Implements `aggregator.reach.protocol.Figures`."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def fields(self) -> list[models.FieldView]:
        return self._client.list_fields()

    def head_versions(self, space: str) -> list[models.HeadVersion]:
        return self._client.list_head_versions(space)

    def compare_heads(self, space: str, first: int, second: int) -> models.ComparedHeads:
        return self._client.compare_heads(space, first=first, second=second)

    def influence(self) -> models.InfluenceView:
        """Of the bundle that is served there; here, settings and a bundle of this machine are asked for, too."""
        return self._client.show_influence()

    def privacy(self) -> list[models.PrivacyView]:
        """With the settings of the service there."""
        return self._client.list_privacy()

    def heads_of(self, device: str) -> list[models.HeadSpanView]:
        return self._client.list_heads_of_device(device)

    def confusion(self, device: str) -> models.ConfusionView:
        return self._client.show_confusion(device)

    def stages(self, rollout: str) -> list[models.StageView]:
        return self._client.list_rollout_stages(rollout)
