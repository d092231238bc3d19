"""Heads with noise that are solved from sums, each of which spends a part of the budget."""

from __future__ import annotations

import numpy as np

from aggregator.effects import Effect, Instant, Note
from aggregator.heads.fleet_model import FleetModel
from aggregator.heads.fleet_sum import FleetSum
from aggregator.heads.noise import Normal, believed, noisy
from aggregator.heads.privacy_budget import PrivacyBudget
from aggregator.policy import Method, Policy
from aggregator.privacy_policy import PrivacyPolicy, Unit
from aggregator.store import Store
from headway.errors import BundleError
from headway.maths import Task
from headway.wire import PublishedHead


class PrivateHeads(PrivacyBudget):
    """Of one feature space. Every method must run inside a transaction of the store.

    normal: see `aggregator.heads.noise.noisy`. Raises BundleError where noise cannot be added, ConfigError without
    dp-accounting.
    """

    def __init__(self, store: Store, model: FleetModel, policy: Policy, normal: Normal | None = None) -> None:
        super().__init__(store, model.space, policy.privacy)
        self._model, self._policy, self._normal = model, policy, normal
        if not self.wanted or policy.method is not Method.EXACT:
            return
        if model.task is not Task.CLASSIFICATION:
            raise BundleError(
                "noise is added to heads of classifiers with method = exact; set [privacy] epsilon = 0, or the method"
            )
        if not model.training_statistics.samples:
            raise BundleError("noise needs the statistics of the training data; convert the bundle again with them")

    def head(self, version: int, counted: FleetSum, now: Instant) -> tuple[PublishedHead | None, list[Effect]]:
        """The next one, which is spent from now on; None where the budget does not pay for it."""
        refusal = self.refusal()
        if refusal is not None:
            return None, [refusal]
        source, reach = self._model.training_statistics, reach_of(self._policy.privacy)
        sums = noisy(counted.class_sums, self.multiplier, reach, self._normal)
        tables = believed(sums, source, self.multiplier, reach)
        try:
            head = self._model.solve(source, tables, self._policy.shrinkage)
        except np.linalg.LinAlgError as error:
            return None, [Note(f"no new head: the training data's statistics cannot be solved ({error})", warning=True)]
        # how many devices there are is nobody's business either
        made = PublishedHead(version, "exact", self._model.space, 0, max(int(sums[-1].sum()), 0), head)
        return made, [self.spend(version, 1, now.wall_s)]


def reach_of(settings: PrivacyPolicy) -> int:
    """Labels of one unit."""
    return settings.device_labels_max if settings.unit is Unit.DEVICE else 1
