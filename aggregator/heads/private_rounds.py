"""Rounds of averaging with noise, each of which spends a part of the budget, and how long updates are in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from aggregator.effects import Effect, Note
from aggregator.heads.averaging import Gathered, Weights
from aggregator.heads.noise import Normal
from aggregator.heads.noisy_rounds import Evidence, NoisySum
from aggregator.heads.privacy_budget import PrivacyBudget
from aggregator.policy import AveragingPolicy
from aggregator.store import Store
from aggregator.store.rows import NOISY_ROUNDS, NoisyRoundsRow
from headway.arrays import Float64

LEAST = 1e-6


class PrivateRounds:
    """Of one feature space. Every method must run inside a transaction of the store.

    normal: see `aggregator.heads.noisy_rounds.NoisySum.of`.
    """

    def __init__(
        self, store: Store, space: str, policy: AveragingPolicy, budget: PrivacyBudget, normal: Normal | None = None
    ) -> None:
        self._rows, self._space, self._policy = store.rows(NOISY_ROUNDS), space, policy
        self._budget, self._normal = budget, normal

    @property
    def policy(self) -> AveragingPolicy:
        """Of the next round: how long its updates are at most follows from noisy numbers of those before."""
        row = self._rows.get(self._space)
        return (
            self._policy if row is None else replace(self._policy, clip_norm=min(row.clip_norm, self._policy.clip_norm))
        )

    def change(
        self, contributions: Gathered, worth: Weights, version: int, wall_s: float
    ) -> tuple[Float64, int, list[Effect]]:
        """What stands for the mean of a round that makes the head `version`, float64 (C, d + 1), and how many devices
        sent it, with noise. It is spent from now on. worth: by `policy` alone. Raises LocalError without contributions.
        """
        total = contributions.total(worth)
        told = NoisySum.of(total, worth.norms, worth.norm_max, self._budget.multiplier, self._normal)
        found = self._evidence(total.shape).after(told)
        bound = min(max(told.next_clip_norm(), LEAST), self._policy.clip_norm)
        self._rows.put(NoisyRoundsRow(self._space, bound, found.variance, found.total.astype("<f8").tobytes()))
        about = f"{max(told.devices, 0)} devices, give or take {told.noise.devices:.0f}"
        steps = f"the head moves by {found.share:.0%} of their mean"
        said = Note(f"a round of {about}, updates shortened to {told.clip_norm:.3g}; {steps}; the next to {bound:.3g}")
        return found.share * told.mean, max(told.devices, 0), [self._budget.spend(version, 1, wall_s), said]

    def _evidence(self, shape: Sequence[int]) -> Evidence:
        row, nothing = self._rows.get(self._space), Evidence(np.zeros(shape), 0.0)
        # of a bundle with other classes in the same feature space averaging begins anew
        if row is None or len(row.total) != nothing.total.nbytes:
            return nothing
        kept = np.frombuffer(row.total, "<f8").astype(np.float64).reshape(shape)
        return Evidence(kept, row.variance) if np.isfinite(kept).all() else nothing
