"""The exact learner: integer tables in, closed-form heads out. Nothing is ever forgotten or approximated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edge_agent.learner.trainer import TrainerState
from headway.arrays import AnyArray, Int8, Int64
from headway.errors import RemoteError, StoreError
from headway.fields import Fields
from headway.head import Head
from headway.messages import PublishedHead
from headway.solve import blend, lda_head, shrunk_covariance
from headway.statistics import Statistics, from_arrays, to_arrays

SHRINKAGE = 0.02


@dataclass(frozen=True, slots=True)
class Prior:
    """How much the source counts against local labels, in samples.

    mean: what one source class mean is worth; covariance: what the source covariance is worth, in multiples of d.
    """

    mean: float
    covariance: float


CANDIDATES = {"exact/quick": Prior(2.0, 1.0), "exact/steady": Prior(10.0, 4.0)}


class ExactTrainer:
    """LDA candidates solved from the source tables of the bundle and the local tables of this device.

    Each is the posterior mean under a normal-inverse-Wishart prior centred on the source (Gelman et al., Bayesian
    Data Analysis, 3.6), so that a few labels move the class means while the covariance waits for more:

        m_c = (k m_c,source + sum_c) / (k + n_c)      S = (v S_source + scatter_local) / (v + f_local)

    with f_local = n - (classes seen), the degrees of freedom of the local within-class scatter.
    """

    def __init__(self, source: Statistics) -> None:
        self.local = Statistics.zeros(source.size, source.classes, source.space)
        moments = blend([(1.0, source)])
        freedom = source.samples - len(source.classes)
        self._covariance = moments.within_scatter() / max(freedom, 1)
        self._source_means = moments.means()
        self._source_seen = moments.counts > 0
        self._heads: dict[str, Head] | None = None

    def learn(self, codes: Int8, labels: Int64) -> None:
        self.local = self.local + Statistics.of(codes, labels, self.local.classes, self.local.space)
        self._heads = None

    def candidates(self) -> Mapping[str, Head]:
        if self._heads is None:
            self._heads = {name: self._solve(prior) for name, prior in CANDIDATES.items()}
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

    def _solve(self, prior: Prior) -> Head:
        local = blend([(1.0, self.local)])
        weight = np.where(self._source_seen, prior.mean, 0.0)
        total = weight + local.counts
        means = (weight * self._source_means + local.class_sums[:-1]) / np.maximum(total, 1e-12)
        worth = prior.covariance * self.local.size
        freedom = max(float(local.counts.sum() - (local.counts > 0).sum()), 0.0)
        scatter = worth * self._covariance + local.within_scatter()
        covariance = shrunk_covariance(scatter, worth + freedom, SHRINKAGE)
        present = total > 0
        priors = np.where(present, 1.0 / max(int(present.sum()), 1), 0.0)
        return lda_head(covariance, means, priors, self.local.classes)
