"""Declares what was spent of the budget of noise."""

from __future__ import annotations

from dataclasses import dataclass

from aggregator.store.collection import Collection


@dataclass(frozen=True, slots=True)
class PrivacySpentRow:
    """Heads with noise that somebody was given. number: from 1, in each space; version: the highest of them; heads: how
    many; at_s: wall clock, 0 where a store that was lost made them; unit: whose presence the noise hides
    (`aggregator.privacy_policy.Unit`); multiplier: of the noise, in units of what one of these reaches."""

    space: str
    number: int
    version: int
    at_s: float
    heads: int
    unit: str
    multiplier: float


@dataclass(frozen=True, slots=True)
class NoisyRoundsRow:
    """What rounds of averages with noise came to in one feature space. clip_norm: what updates are shortened to in the
    next; total: the sum of their means, each over its variance, float64 in little endian; variance: of the noise in it,
    see `aggregator.heads.noisy_rounds.Evidence`."""

    space: str
    clip_norm: float
    variance: float
    total: bytes


NOISY_ROUNDS = Collection("noisy_rounds", NoisyRoundsRow, ("space",))
PRIVACY_SPENT = Collection("privacy_spent", PrivacySpentRow, ("space", "number"))
