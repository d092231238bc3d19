"""Implements ``edge-fleet influence``: what each device brings the fleet's head, on the bundle's own sample."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aggregator.commands.tables import aligned, print_table
from aggregator.operations import influence_view
from aggregator.policy import Policy
from aggregator.store.sql import SqlStore
from headway.fields import canonical_json

if TYPE_CHECKING:
    from headway_client import models

HEADER = ("device", "labels", "weight", "accuracy", "loss")


def influence_here(store: SqlStore, bundle: Path, policy: Policy) -> models.InfluenceView:
    """Of this machine's fleet. Raises ConfigError, BundleError, DataError."""
    with store.reading():
        found: Any = asdict(influence_view(store, bundle, policy))
    told: models.InfluenceView = found
    return told


def show_influence(found: models.InfluenceView, count_max: int, as_json: bool) -> None:
    """Print the devices, worst first."""
    devices = found["devices"]
    if as_json:
        head = {"accuracy": found["accuracy"], "loss": found["loss"]}
        told: Any = {"head": head, "devices": [*devices], "without_a_head": [*found["without_a_head"]]}
        print(canonical_json(told).decode())
        return
    if not devices:
        print("no report counts yet in the feature space of this bundle")
        return
    print(
        f"the head of {len(devices)} devices is right about {found['accuracy']:.1%} of the bundle's "
        f"{found['rows']} rows; what each device brings it, least first (below zero: it harms)"
    )
    shown = devices[:count_max]
    lines = [
        (
            one["device"], str(one["labels"]), f"{one['weight']:.0%}", f"{100 * one['accuracy_gain']:+.2f} points",
            f"{one['loss_gain']:+.4f}",
        )
        for one in shown
    ]  # fmt: skip
    print_table(HEADER, lines, aligned([HEADER, *lines]), frozenset(HEADER[1:]))
    if len(shown) < len(devices):
        print(f"{len(devices) - len(shown)} more bring it more; --limit shows them")
