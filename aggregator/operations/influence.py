"""What each device brings the fleet's head, on the bundle's own sample: for the command line, the API and the page."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from aggregator.heads import FleetModel, influences, mark_of
from aggregator.operations.head_scores import SERVED
from aggregator.policy import Method, Policy
from aggregator.store import Store
from aggregator.store.rows import QUARANTINED
from headway.bundle import TrainingRows, read_variant
from headway.errors import BundleError, ConfigError, DataError

KEPT_MAX = 4


@dataclass(frozen=True, slots=True)
class DeviceInfluence:
    """What the head gains by a device; below zero it harms.

    labels: that count; weight: of each, 0..1. accuracy_gain: accuracy of the head less that of the head without the
    device; loss_gain: loss of the head without it less that with it, in nats.
    """

    device: str
    labels: int
    weight: float
    accuracy_gain: float
    loss_gain: float


@dataclass(frozen=True, slots=True)
class InfluenceView:
    """What each device brings the head, the worst first.

    bundle: whose sample it is, of so many rows. accuracy, loss: of the head of all. without_a_head: devices without
    whom there is none.
    """

    bundle: str
    rows: int
    accuracy: float
    loss: float
    devices: tuple[DeviceInfluence, ...]
    without_a_head: tuple[str, ...]


def served_bundle(state_dir: Path, configured: Path | None = None) -> Path:
    """The bundle that the service served last, of which it keeps a copy; before there is one, the configured one.

    Raises ConfigError without either.
    """
    kept = sorted((state_dir / SERVED).glob("*.hwb"), key=lambda path: path.stat().st_mtime_ns)
    if kept:
        return kept[-1]
    if configured is None:
        raise ConfigError(f"no bundle was served from {state_dir}; give --bundle FILE")
    return configured


# one at a time, and none twice: each takes a second or two of a large fleet
_AT_WORK = threading.Lock()
_FOUND: OrderedDict[tuple[object, ...], InfluenceView] = OrderedDict()


def influence_view(store: Store, bundle: Path, policy: Policy) -> InfluenceView:
    """While reading the store. Raises ConfigError, BundleError, DataError."""
    if policy.method is not Method.EXACT:
        raise ConfigError("in a fleet with method = average a head is no sum from which a device could be subtracted")
    policy = policy.in_effect
    changed_ns = _changed_ns(bundle)
    model, sample = _opened(bundle, changed_ns)
    if model.targets is not None or sample is None or sample.labels is None or not len(sample.labels):
        raise BundleError(f"{bundle.name} carries no sample with classes on which heads could be compared")
    aside = tuple(sorted((row.device, row.epoch) for row in store.rows(QUARANTINED).all()))
    reports = mark_of(store.contributions(model.space))
    wanted = (str(bundle), changed_ns, reports, aside, policy.weighing, policy.shrinkage)
    with _AT_WORK:
        if wanted not in _FOUND:
            _FOUND[wanted] = _view(store, model, sample, policy)
            while len(_FOUND) > KEPT_MAX:
                _FOUND.popitem(last=False)
        return _FOUND[wanted]


def _view(store: Store, model: FleetModel, sample: TrainingRows, policy: Policy) -> InfluenceView:
    try:
        found = influences(store, model, policy, np.asarray(sample.values, np.float32), np.asarray(sample.labels))
    except np.linalg.LinAlgError as error:
        raise DataError(f"there is no head of all devices ({error}); see edge-fleet devices") from error
    devices = tuple(DeviceInfluence(one.device, one.samples, one.weight, one.gain, one.loss) for one in found.devices)
    whole = found.whole
    return InfluenceView(model.bundle, len(sample.values), whole.accuracy, whole.loss, devices, found.unsolved)


def _changed_ns(bundle: Path) -> int:
    try:
        return bundle.stat().st_mtime_ns
    except OSError as error:
        raise BundleError(f"the bundle {bundle.name} cannot be read: {error.strerror}") from error


@lru_cache(maxsize=2)
def _opened(bundle: Path, changed_ns: int) -> tuple[FleetModel, TrainingRows | None]:
    variant = read_variant(bundle)
    return FleetModel.of(variant), variant.buffer
