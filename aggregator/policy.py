"""What the aggregator may do and how much of it: every limit, with its unit, in one place."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Method(StrEnum):
    """Which of the two heads is published."""

    EXACT = "exact"
    AVERAGE = "average"


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what a fleet can make the aggregator store or do."""

    devices_max: int = 20_000
    epochs_per_device_max: int = 64
    classes_max: int = 256
    pending_updates_max: int = 20_000
    parts_max: int = 2_000
    events_max: int = 50_000
    heads_kept_max: int = 16


@dataclass(frozen=True, slots=True)
class DeliveryPolicy:
    """How fast bundles leave: bytes of all devices together, and how many devices hear of an order in a second."""

    bytes_per_s: float = 1_000_000.0
    devices_per_s: float = 20.0


@dataclass(frozen=True, slots=True)
class AveragingPolicy:
    """updates_min: how many make a round; round_s: after so long fewer will do; clip_norm: c, L2, in the units of
    `weights_over_unit_codes`; samples_max: most that one update may weigh."""

    updates_min: int = 4
    round_s: float = 60.0
    learning_rate: float = 1.0
    clip_norm: float = 10.0
    staleness_exponent: float = 0.5
    samples_max: int = 1000


@dataclass(frozen=True, slots=True)
class Policy:
    """publish_interval_s: shortest time between two heads; pace_s: pause the aggregator asks of devices (0: none);
    shrinkage: of the covariance in the exact method, 0..1; prior_devices_min: fewest devices whose summed tables may be
    told to another one that starts with few labels (0: never)."""

    method: Method = Method.EXACT
    publish_interval_s: float = 5.0
    pace_s: float = 0.0
    shrinkage: float = 0.02
    prior_devices_min: int = 3
    averaging: AveragingPolicy = field(default_factory=AveragingPolicy)
    delivery: DeliveryPolicy = field(default_factory=DeliveryPolicy)
    limits: Limits = field(default_factory=Limits)
