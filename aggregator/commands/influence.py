"""Implements ``edge-fleet influence``: what each device brings the fleet's head, on the bundle's own sample."""

from __future__ import annotations

from pathlib import Path

from aggregator.commands.tables import aligned, print_table
from aggregator.operations import InfluenceView, influence_view
from aggregator.policy import Policy
from aggregator.store.sql import SqlStore
from headway.fields import JsonValue, canonical_json

HEADER = ("device", "labels", "weight", "accuracy", "loss")


def show_influence(store: SqlStore, bundle: Path, policy: Policy, count_max: int, as_json: bool) -> None:
    """Print the devices, worst first. Raises ConfigError, BundleError, DataError."""
    with store.reading():
        found = influence_view(store, bundle, policy)
    if as_json:
        print(canonical_json(_plain(found)).decode())
        return
    if not found.devices:
        print("no report counts yet in the feature space of this bundle")
        return
    print(
        f"the head of {len(found.devices)} devices is right about {found.accuracy:.1%} of the bundle's "
        f"{found.rows} rows; what each device brings it, least first (below zero: it harms)"
    )
    shown = found.devices[:count_max]
    lines = [
        (
            one.device, str(one.labels), f"{one.weight:.0%}", f"{100 * one.accuracy_gain:+.2f} points",
            f"{one.loss_gain:+.4f}",
        )
        for one in shown
    ]  # fmt: skip
    print_table(HEADER, lines, aligned([HEADER, *lines]), frozenset(HEADER[1:]))
    if len(shown) < len(found.devices):
        print(f"{len(found.devices) - len(shown)} more bring it more; --limit shows them")


def _plain(found: InfluenceView) -> JsonValue:
    devices: list[JsonValue] = [
        {
            "device": one.device,
            "labels": one.labels,
            "weight": one.weight,
            "accuracy_gain": one.accuracy_gain,
            "loss_gain": one.loss_gain,
        }
        for one in found.devices
    ]
    whole: dict[str, JsonValue] = {"accuracy": found.accuracy, "loss": found.loss}
    return {"head": whole, "devices": devices, "without_a_head": [*found.without_a_head]}
