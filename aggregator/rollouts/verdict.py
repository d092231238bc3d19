"""Judges a stage of a rollout: is the new bundle no worse than the old one on labels of the stage's devices?

Each device sums how much worse the new bundle is on its own labelled windows (`headway.maths.PairedLoss`). Over the
devices of a stage, with counts n_i and sums t_i,

    D  = sum t_i / sum n_i                            mean paired loss, new minus old
    SE = sqrt(m / (m - 1) * sum (t_i - n_i D)^2) / N   its standard error, devices as clusters (Liang & Zeger 1986),

and no less than if all windows were independent: windows of one device are alike, and few devices vary little by
chance. A stage passes when D + k SE is within the margin, fails when D - k SE is beyond it, and is undecided between.
Devices without labels are unknown: they count for nothing, least of all as success.

What is true of it, a device claims. So the quarter that has most windows counts for no more than the next device has:
with k = 2 one device turns a verdict, whatever it says, only with more than half of the weight. And a verdict has to
lie on the same side of the margin without the third of the devices that says most for it and the one that says most
against it, whatever their windows: what a third alone says turns none. What it can do is keep one undecided.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from headway.maths import PAIRED_STEP, PairedLoss

# of the devices: those with most windows, which count for as many as the next; left out on either side
MOST, EXTREME = 0.25, 1 / 3


class Outcome(StrEnum):
    """What is known of a stage."""

    PASSED = "passed"
    FAILED = "failed"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Comparison:
    """devices: with labels; windows: theirs that count; mean: paired loss, new minus old; error: its standard error,
    infinite where it cannot be told; typical: mean over devices without the extremes."""

    devices: int
    windows: int
    mean: float
    error: float
    typical: float


@dataclass(frozen=True, slots=True)
class Criteria:
    """margin: loss that the new bundle may be worse by (0 to 2; 1 is a wrong answer for every window). errors: k, in
    standard errors. windows_min, devices_min: fewest labelled windows, and devices that have some."""

    margin: float
    errors: float
    windows_min: int
    devices_min: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """outcome, and why in words for people."""

    outcome: Outcome
    why: str


def compared(sums: Iterable[PairedLoss]) -> Comparison:
    """sums: of each device of a stage."""
    labelled = [one for one in sums if one.count]
    if not labelled:
        return Comparison(0, 0, 0.0, math.inf, 0.0)
    most, typical = _most([one.count for one in labelled]), _typical([one.total / one.count for one in labelled])
    windows = sum(min(one.count, most) for one in labelled)
    parts = [min(1.0, most / one.count) for one in labelled]
    total = sum(part * one.total for part, one in zip(parts, labelled, strict=True))
    squares = sum(part * one.squares for part, one in zip(parts, labelled, strict=True))
    mean, error = total / windows, math.inf
    if len(labelled) >= 2 and windows >= 2:
        off = sum((part * (one.total - one.count * mean)) ** 2 for part, one in zip(parts, labelled, strict=True))
        clusters = off * len(labelled) / (len(labelled) - 1)
        independent = max(squares - windows * mean**2, 0.0) * windows / (windows - 1)
        error = math.sqrt(max(clusters, independent)) / windows * PAIRED_STEP
    return Comparison(len(labelled), windows, mean * PAIRED_STEP, error, typical * PAIRED_STEP)


def judged(comparison: Comparison, criteria: Criteria) -> Verdict:
    """The verdict on a stage so far; more labels may turn an undecided one."""
    said = (
        f"paired loss {comparison.mean:+.4f} +- {comparison.error:.4f} on {comparison.windows} labelled windows of "
        f"{comparison.devices} devices, margin {criteria.margin:g}"
    )
    if comparison.windows < criteria.windows_min or comparison.devices < criteria.devices_min:
        wanted = f"{criteria.windows_min} windows of {criteria.devices_min} devices are needed"
        return Verdict(Outcome.UNDECIDED, f"{said}; {wanted}")
    slack = criteria.errors * comparison.error
    worse = comparison.mean - slack > criteria.margin
    if not worse and comparison.mean + slack > criteria.margin:
        return Verdict(Outcome.UNDECIDED, said)
    if worse != (comparison.typical > criteria.margin):
        return Verdict(Outcome.UNDECIDED, f"{said}; without the third at either end {comparison.typical:+.4f}")
    return Verdict(Outcome.FAILED if worse else Outcome.PASSED, said)


def _most(counts: Sequence[int]) -> int:
    """The most windows that one device counts for. counts: of each device, at least one."""
    ordered = sorted(counts)
    return ordered[max(len(ordered) - 1 - math.ceil(MOST * len(ordered)), 0)]


def _typical(means: Sequence[float]) -> float:
    """Their mean without the extremes. means: of each device, at least one."""
    out = int(EXTREME * len(means))
    kept = sorted(means)[out : len(means) - out]
    return sum(kept) / len(kept)
