"""Implements ``edge-fleet influence``: what each device brings the fleet's head, on the bundle's own sample."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from aggregator.commands.tables import aligned, print_table
from aggregator.heads import FleetModel, Influences, influences
from aggregator.operations import SERVED
from aggregator.policy import Method, Policy
from aggregator.store.sql import SqlStore
from headway.bundle import read_variant
from headway.errors import BundleError, ConfigError, DataError
from headway.fields import JsonValue, canonical_json

HEADER = ("device", "labels", "weight", "accuracy", "loss")


def bundle_of(folder: Path) -> Path:
    """The bundle that the service served last, of which it keeps a copy. Raises ConfigError."""
    kept = sorted((folder / SERVED).glob("*.hwb"), key=lambda path: path.stat().st_mtime_ns)
    if not kept:
        raise ConfigError(f"no bundle was served from {folder}; give --bundle FILE")
    return kept[-1]


def show_influence(store: SqlStore, bundle: Path, policy: Policy, count_max: int, as_json: bool) -> None:
    """Print the devices, worst first. Raises ConfigError, BundleError, DataError."""
    if policy.method is not Method.EXACT:
        raise ConfigError("in a fleet with method = average a head is no sum from which a device could be subtracted")
    variant = read_variant(bundle)
    model, sample = FleetModel.of(variant), variant.buffer
    if model.targets is not None or sample is None or sample.labels is None or not len(sample.labels):
        raise BundleError(f"{bundle} carries no sample with classes on which heads could be compared")
    with store.reading():
        try:
            found = influences(store, model, policy, np.asarray(sample.values, np.float32), sample.labels)
        except np.linalg.LinAlgError as error:
            raise DataError(f"there is no head of all devices ({error}); see edge-fleet devices") from error
    if as_json:
        print(canonical_json(_plain(found)).decode())
        return
    if not found.devices:
        print("no report counts yet in the feature space of this bundle")
        return
    print(
        f"the head of {len(found.devices)} devices is right about {found.whole.accuracy:.1%} of the bundle's "
        f"{len(sample.labels)} rows; what each device brings it, least first (below zero: it harms)"
    )
    shown = found.devices[:count_max]
    lines = [
        (one.device, str(one.samples), f"{one.weight:.0%}", f"{100 * one.gain:+.2f} points", f"{one.loss:+.4f}")
        for one in shown
    ]
    print_table(HEADER, lines, aligned([HEADER, *lines]), frozenset(HEADER[1:]))
    if len(shown) < len(found.devices):
        print(f"{len(found.devices) - len(shown)} more bring it more; --limit shows them")


def _plain(found: Influences) -> JsonValue:
    devices: list[JsonValue] = [
        {
            "device": one.device,
            "labels": one.samples,
            "weight": one.weight,
            "accuracy_gain": one.gain,
            "loss_gain": one.loss,
        }
        for one in found.devices
    ]
    whole: dict[str, JsonValue] = {"accuracy": found.whole.accuracy, "loss": found.whole.loss}
    return {"head": whole, "devices": devices, "without_a_head": [*found.unsolved]}
