"""The budget of heads with noise, in one feature space: as many as it pays for, and then no more.

A Gaussian mechanism with multiplier z, repeated, is one with 1/z^2 = sum of 1/z_i^2 (Dong, Roth & Su 2022), whatever
was seen in between; epsilon and delta of that one come from dp-accounting. Each head is entered in the transaction that
makes it, and in a folder beside the store before it leaves (`aggregator.privacy_ledger`), so that neither a kill nor an
older store spends the same budget twice. Heads that are solved and heads that are averaged spend the same one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from aggregator.effects import Effect, Instant, Note, Spent
from aggregator.privacy_policy import PrivacyPolicy, Unit
from aggregator.store import ReadableStore, Store
from aggregator.store.rows import PRIVACY_SPENT, PrivacySpentRow
from headway.errors import ConfigError


class PrivacyBudget:
    """Of one feature space. Every method must run inside a transaction of the store.

    multiplier: of the noise on each head, 0 without noise. Raises ConfigError without dp-accounting.
    """

    def __init__(self, store: Store, space: str, settings: PrivacyPolicy) -> None:
        self._store, self._space, self._settings = store, space, settings
        self.multiplier = multiplier(settings) if settings.wanted else 0.0
        self._told_that_spent = False

    @property
    def wanted(self) -> bool:
        """Whether heads get noise."""
        return self._settings.wanted

    @property
    def ended(self) -> bool:
        """Whether no further head comes, as the budget is spent, and that was said."""
        return self._told_that_spent

    def due(self, at_once: bool, now: Instant) -> bool:
        """Whether the next head may be made, or it is to be said that none can be. at_once: something was removed."""
        if not self.wanted:
            return True
        rows = [] if at_once else spent_in(self._store, self._space)
        # asked all the time, so what costs little comes first; a clock that was set back must not stop heads for ever
        if rows and 0 <= now.wall_s - rows[-1].at_s < self._settings.interval_s:
            return False
        return not self.ended

    def refusal(self) -> Note | None:
        """What is said where the budget does not pay for one more head, None where it does."""
        rows, limit = spent_in(self._store, self._space), self._settings.epsilon
        another = PrivacySpentRow(self._space, 0, 0, 0.0, 1, str(self._settings.unit), self.multiplier)
        if spent_epsilon([*rows, another], self._settings) <= limit * (1 + 1e-6):
            return None
        self._told_that_spent = True
        spent = spent_epsilon(rows, self._settings)
        text = f"no head: {spent:.3g} of the privacy budget epsilon {limit:g} is spent, and the next would exceed it"
        return Note(f"{text}. The last head stays; a larger [privacy] epsilon pays for more", warning=True)

    def spend(self, version: int, heads: int, at_s: float) -> Spent:
        """So many heads, up to this version, are spent from now on."""
        number = len(spent_in(self._store, self._space)) + 1
        row = PrivacySpentRow(
            self._space, number, version, at_s, heads, str(self._settings.unit), self.multiplier
        )  # fmt: skip
        self._store.rows(PRIVACY_SPENT).put(row)
        return Spent(row)

    def spend_unknown(self, known: int, version: int) -> list[Effect]:
        """Heads after version `known` and up to `version` were published of which the store does not know."""
        if not self.wanted:
            return []
        rows = spent_in(self._store, self._space)
        unknown = version - max([known, *(row.version for row in rows)])
        return [self.spend(version, unknown, 0.0)] if unknown > 0 else []


def multiplier(settings: PrivacyPolicy) -> float:
    """Of the noise on each head, so that `heads_max` of them spend epsilon. Raises ConfigError."""
    try:
        from dp_accounting import get_sigma_gaussian
    except ImportError as error:
        raise ConfigError("privacy.epsilon needs dp-accounting; pip install 'headway[privacy]'") from error
    return float(get_sigma_gaussian(settings.epsilon, settings.delta)) * math.sqrt(settings.heads_max)


def spent_in(store: ReadableStore, space: str) -> list[PrivacySpentRow]:
    """What was spent in one feature space, the oldest first."""
    return store.rows(PRIVACY_SPENT).all(space)


def spent_epsilon(rows: Iterable[PrivacySpentRow], settings: PrivacyPolicy) -> float:
    """What all these heads together spent, at the settings' delta and for their unit; infinite where nothing bounds it.

    Noise that hid one label hides no device, which may have many. Noise that hid a device hides each of its labels by
    half as much at least: with one label more its part moves from one place within its reach to another.
    """
    from dp_accounting import get_epsilon_gaussian

    precision = _precision(rows, settings)
    if not precision or math.isinf(precision):
        return precision
    return float(get_epsilon_gaussian(1 / math.sqrt(precision), settings.delta))


def heads_left(rows: Iterable[PrivacySpentRow], settings: PrivacyPolicy) -> int:
    """How many more heads the budget pays for."""
    from dp_accounting import get_sigma_gaussian

    limit = 1 / float(get_sigma_gaussian(settings.epsilon, settings.delta)) ** 2
    used = _precision(rows, settings)
    return 0 if math.isinf(used) else max(math.floor((limit - used) * multiplier(settings) ** 2 + 1e-6), 0)


def _precision(rows: Iterable[PrivacySpentRow], settings: PrivacyPolicy) -> float:
    """Sum of 1 / z^2 over all heads."""
    total = 0.0
    for row in rows:
        if settings.unit is Unit.DEVICE and row.unit != Unit.DEVICE:
            return math.inf
        own = row.multiplier if row.unit == settings.unit else row.multiplier / 2
        total += row.heads / own**2
    return total
