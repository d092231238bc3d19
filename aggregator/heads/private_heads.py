"""Heads with noise, and the budget that they spend: as many as it pays for, and then no more.

A Gaussian mechanism with multiplier z, repeated, is one with 1/z^2 = sum of 1/z_i^2 (Dong, Roth & Su 2022), whatever
was seen in between; epsilon and delta of that one come from dp-accounting. Each head is entered in the transaction that
makes it, and in a folder beside the store before it leaves (`aggregator.privacy_ledger`), so that neither a kill nor an
older store spends the same budget twice.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from aggregator.effects import Effect, Instant, Note, Spent
from aggregator.heads.fleet_model import FleetModel
from aggregator.heads.fleet_sum import FleetSum
from aggregator.heads.noise import Normal, believed, noisy
from aggregator.policy import Method, Policy
from aggregator.privacy_policy import PrivacyPolicy, Unit
from aggregator.store import ReadableStore, Store
from aggregator.store.rows import PRIVACY_SPENT, PrivacySpentRow
from headway.errors import BundleError, ConfigError
from headway.maths import Task
from headway.wire import PublishedHead


class PrivateHeads:
    """Of one feature space. Every method must run inside a transaction of the store.

    normal: see `aggregator.heads.noise.noisy`. Raises BundleError where noise cannot be added, ConfigError without
    dp-accounting.
    """

    def __init__(self, store: Store, model: FleetModel, policy: Policy, normal: Normal | None = None) -> None:
        self._store, self._model, self._policy, self._normal = store, model, policy, normal
        self._settings = policy.privacy
        self._told_that_spent = False
        if not self.wanted:
            return
        if policy.method is not Method.EXACT or model.task is not Task.CLASSIFICATION:
            raise BundleError(
                "noise is added to heads of classifiers with method = exact; set [privacy] epsilon = 0, or the method"
            )
        if not model.training_statistics.samples:
            raise BundleError("noise needs the statistics of the training data; convert the bundle again with them")
        self._multiplier = multiplier(self._settings)

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
        rows = [] if at_once else spent_in(self._store, self._model.space)
        # asked all the time, so what costs little comes first; a clock that was set back must not stop heads for ever
        if rows and 0 <= now.wall_s - rows[-1].at_s < self._settings.interval_s:
            return False
        return not self.ended

    def head(self, version: int, counted: FleetSum, now: Instant) -> tuple[PublishedHead | None, list[Effect]]:
        """The next one, which is spent from now on; None where the budget does not pay for it."""
        spent, limit = spent_epsilon(spent_in(self._store, self._model.space), self._settings), self._settings.epsilon
        if not self._pays():
            self._told_that_spent = True
            text = (
                f"no head: {spent:.3g} of the privacy budget epsilon {limit:g} is spent, and the next would exceed it"
            )
            return None, [Note(f"{text}. The last head stays; a larger [privacy] epsilon pays for more", warning=True)]
        source, reach = self._model.training_statistics, reach_of(self._settings)
        sums = noisy(counted.class_sums, self._multiplier, reach, self._normal)
        tables = believed(sums, source, self._multiplier, reach)
        try:
            head = self._model.solve(source, tables, self._policy.shrinkage)
        except np.linalg.LinAlgError as error:
            return None, [Note(f"no new head: the training data's statistics cannot be solved ({error})", warning=True)]
        # how many devices there are is nobody's business either
        made = PublishedHead(version, "exact", self._model.space, 0, max(int(sums[-1].sum()), 0), head)
        return made, [self._spend(version, 1, now.wall_s)]

    def spend_unknown(self, known: int, version: int) -> list[Effect]:
        """Heads after version `known` and up to `version` were published of which the store does not know."""
        if not self.wanted:
            return []
        rows = spent_in(self._store, self._model.space)
        unknown = version - max([known, *(row.version for row in rows)])
        return [self._spend(version, unknown, 0.0)] if unknown > 0 else []

    def _pays(self) -> bool:
        rows = spent_in(self._store, self._model.space)
        another = PrivacySpentRow(self._model.space, 0, 0, 0.0, 1, str(self._settings.unit), self._multiplier)
        return spent_epsilon([*rows, another], self._settings) <= self._settings.epsilon * (1 + 1e-6)

    def _spend(self, version: int, heads: int, at_s: float) -> Spent:
        number = len(spent_in(self._store, self._model.space)) + 1
        unit = str(self._settings.unit)
        row = PrivacySpentRow(self._model.space, number, version, at_s, heads, unit, self._multiplier)
        self._store.rows(PRIVACY_SPENT).put(row)
        return Spent(row)


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


def reach_of(settings: PrivacyPolicy) -> int:
    """Labels of one unit."""
    return settings.device_labels_max if settings.unit is Unit.DEVICE else 1


def _precision(rows: Iterable[PrivacySpentRow], settings: PrivacyPolicy) -> float:
    """Sum of 1 / z^2 over all heads."""
    total = 0.0
    for row in rows:
        if settings.unit is Unit.DEVICE and row.unit != Unit.DEVICE:
            return math.inf
        own = row.multiplier if row.unit == settings.unit else row.multiplier / 2
        total += row.heads / own**2
    return total
