"""Settings of the noise that is added to heads, and of the budget that it is accounted against."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

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
        doc='Budget of all heads of a feature space together, for method = "exact" and classifiers: noise is added to '
        "what a head is solved from, so that these are (epsilon, delta)-differentially private. 0: no noise. Needs "
        "pip install 'headway[privacy]'.",
    )
    delta: float = number(
        1e-6, low=1e-15, high=0.01, doc="Its delta; well below one in the number of labels, or of devices."
    )
    unit: Unit = choice(
        Unit.LABEL,
        tuple(Unit),
        doc='Whose presence is hidden: "label", one label; "device", all that a device ever learns.',
    )
    device_labels_max: int = integer(
        64,
        low=1,
        high=1_000_000,
        doc='Most labels that a device weighs, for unit = "device"; more labels mean more noise for everybody.',
    )
    heads_max: int = integer(
        30,
        low=1,
        high=100_000,
        doc="Heads that the budget is shared out over; when it is spent no further one is published.",
    )
    interval_s: float = number(
        86_400.0, low=1.0, high=400 * 86_400, doc="Shortest time between two heads with noise, seconds."
    )

    @property
    def wanted(self) -> bool:
        """Whether noise is added."""
        return self.epsilon > 0
