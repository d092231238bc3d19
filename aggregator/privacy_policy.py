"""Settings of the noise that is added to heads, and of the budget that it is accounted against."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from aggregator.averaging_policy import AveragingPolicy, Robust
from headway.errors import ConfigError
from headway.settings import choice, integer, number


class Unit(StrEnum):
    """Whose presence the noise hides: one label, or all labels of one device."""

    LABEL = "label"
    DEVICE = "device"


@dataclass(frozen=True, slots=True)
class PrivacyPolicy:
    """Gaussian noise on heads: all of them together are (epsilon, delta)-differentially private."""

    epsilon: float = number(
        0.0,
        low=0.0,
        high=1000.0,
        doc="Budget of all heads of a feature space together: noise is added to the sums that a classifier's head is "
        'solved from, or with method = "average" to the sum of each round, so that these are (epsilon, '
        "delta)-differentially private. 0: no noise. Needs pip install 'headway[privacy]'.",
    )
    delta: float = number(
        1e-6, low=1e-15, high=0.01, doc="Its delta; well below one in the number of labels, or of devices."
    )
    unit: Unit = choice(
        Unit.LABEL,
        tuple(Unit),
        doc='Whose presence is hidden: "label", one label; "device", all that a device ever learns, and nothing less '
        'with method = "average".',
    )
    device_labels_max: int = integer(
        64,
        low=1,
        high=1_000_000,
        doc='Most labels that a device weighs, for unit = "device" and method = "exact"; more labels mean more noise '
        "for everybody. In rounds that average all devices weigh the same, and averaging.clip_norm is their bound.",
    )
    heads_max: int = integer(
        30,
        low=1,
        high=100_000,
        doc="Heads, or rounds, that the budget is shared out over; when it is spent no further one is published.",
    )
    interval_s: float = number(
        86_400.0, low=1.0, high=400 * 86_400, doc="Shortest time between two heads with noise, seconds."
    )

    @property
    def wanted(self) -> bool:
        """Whether noise is added."""
        return self.epsilon > 0

    def check_rounds(self, averaging: AveragingPolicy) -> None:
        """Raises ConfigError for rounds in which no noise hides a device, or a unit that none hides there."""
        if self.unit is not Unit.DEVICE:
            raise ConfigError(
                f'[privacy] unit = "{self.unit}" is not hidden in rounds of averages: a label may change each of the '
                'updates that follow; set unit = "device", which hides all labels of a device'
            )
        if averaging.robust is not Robust.NONE:
            raise ConfigError(
                f'[privacy] with [averaging] robust = "{averaging.robust}": how far one device moves that mean depends '
                'on the others, and no noise can be made for it; set robust = "none"'
            )
