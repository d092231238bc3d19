"""The aggregator's settings for heads that are tried, held back or withdrawn."""

from __future__ import annotations

from dataclasses import dataclass

from headway.settings import boolean, integer, number


@dataclass(frozen=True, slots=True)
class HeadTrialPolicy:
    """How new heads are tried before everybody gets them."""

    share: float = number(
        0.0,
        low=0.0,
        high=1.0,
        doc='Share of the fleet that tries a new head on its labels before it is published, for method = "exact"; 0: '
        "heads are published at once.",
    )
    margin: float = number(
        0.05, low=0.0, high=2.0, doc="Paired loss that a head may be worse by; 1 is a wrong answer for every window."
    )
    errors: float = number(2.0, low=0.0, high=10.0, doc="Standard errors that a verdict needs.")
    windows_min: int = integer(50, low=2, doc="Fewest labelled windows for a verdict.")
    devices_min: int = integer(3, low=2, doc="Fewest devices that try a head, and that have labels for a verdict.")
    patience_s: float = number(
        86_400.0, low=1.0, high=400 * 86_400, doc="Seconds after which a head that stays undecided is dropped."
    )


@dataclass(frozen=True, slots=True)
class HeadGatePolicy:
    """When a new head is not published, and a published one is withdrawn."""

    enabled: bool = boolean(
        True,
        doc="Publish no head that is worse than the last one, and withdraw one that turns out worse. With [head_trial] "
        "share above 0 each head is tried before, and this has nothing to do.",
    )
    margin: float = number(
        0.05,
        low=0.0,
        high=1.0,
        doc="Share of the bundle's sample of training data that a new head may have right less than the last one.",
    )
    loss_margin: float = number(
        0.05,
        low=0.0,
        high=2.0,
        doc="Paired loss on devices' labels that a head may be worse by; 1 is a wrong answer for every window.",
    )
    errors: float = number(2.0, low=0.0, high=10.0, doc="Standard errors that each verdict needs.")
    share: float = number(
        0.05, low=0.0001, high=1.0, doc="Share of the fleet that compares heads on its labels, at least devices_min."
    )
    devices_min: int = integer(10, low=2, doc="Fewest devices that compare heads, as far as there are so many.")
    labelled_devices_min: int = integer(3, low=2, doc="Fewest devices with labels for a verdict.")
    windows_min: int = integer(50, low=2, doc="Fewest labelled windows for a verdict.")
    watch_s: float = number(
        3600.0,
        low=0.0,
        high=400 * 86_400,
        doc="Shortest time between two comparisons of what is published with the last good head, seconds.",
    )
    patience_s: float = number(
        86_400.0, low=1.0, high=400 * 86_400, doc="Seconds after which a comparison that stays undecided ends."
    )
