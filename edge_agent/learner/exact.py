"""The exact learner: integer tables in, closed-form heads out. Nothing is ever forgotten or approximated."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edge_agent.learner.trainer import TrainerState
from headway.arrays import AnyArray, Float64, Int8, Int64
from headway.errors import RemoteError, StoreError
from headway.fields import Fields
from headway.head import Head
from headway.messages import PublishedHead
from headway.solve import blend, lda_head, shrunk_covariance
from headway.statistics import Statistics, from_arrays, to_arrays

SHRINKAGE = 0.02
# candidates: how many samples of its own class one source mean is worth
MEAN_PRIORS = {"exact/lda-2": 2.0, "exact/lda-10": 10.0}


class ExactTrainer:
    """LDA candidates solved from the source tables of the bundle and the local tables of this device.

    The covariance is the source's, because a few labels cannot estimate one; the class means move:
    m_c = (k * source mean + local sum) / (k + local count), a normal prior worth k samples on each mean.
    """

    def __init__(self, source: Statistics) -> None:
        self.local = Statistics.zeros(source.size, source.classes, source.space)
        moments = blend([(1.0, source)])
        freedom = source.samples - len(source.classes)
        self._covariance = shrunk_covariance(moments.within_scatter(), freedom, SHRINKAGE)
        self._source_means = moments.means()
        self._source_seen = moments.counts > 0
        self._heads: dict[str, Head] | None = None

    def learn(self, codes: Int8, labels: Int64) -> None:
        self.local = self.local + Statistics.of(codes, labels, self.local.classes, self.local.space)
        self._heads = None

    def candidates(self) -> Mapping[str, Head]:
        if self._heads is None:
            self._heads = {name: self._solve(prior) for name, prior in MEAN_PRIORS.items()}
        return self._heads

    def adopt(self, published: PublishedHead) -> None:
        """Nothing to do: the fleet's head is a candidate of its own."""

    def state(self) -> TrainerState:
        return {f"local.{name}": table for name, table in to_arrays(self.local).items()}, {}

    def restore(self, tensors: Mapping[str, AnyArray], values: Fields) -> None:
        values.finish()
        packed = {name.removeprefix("local."): table for name, table in tensors.items()}
        try:
            self.local = from_arrays(packed, self.local.size, self.local.classes, self.local.space)
        except RemoteError as error:
            raise StoreError(f"saved statistics are damaged: {error}") from error
        self._heads = None

    def _solve(self, prior: float) -> Head:
        sums = self.local.class_sums.astype(np.float64)
        weight = np.where(self._source_seen, prior, 0.0)
        total: Float64 = weight + sums[-1]
        means = (weight * self._source_means + sums[:-1]) / np.maximum(total, 1e-12)
        present = total > 0
        priors = np.where(present, 1.0 / max(int(present.sum()), 1), 0.0)
        return lda_head(self._covariance, means, priors, self.local.classes)
