"""How wrong a head is, told from the labels that it learned: each left out of it, and left in.

A head without the row (leave-one-out) is too pessimistic where labels of the row's class are few: without the only one
the class is where the training data saw it, or nowhere, as if nothing had been learned. The head with the row
(resubstitution) is too optimistic, and by more the fewer the labels. Their weighted mean is between (Efron 1983, the
thought behind the .632 estimator), and after a handful of labels per class it is leave-one-out again.
"""

from __future__ import annotations

import numpy as np

from edge_agent.learner.exact.settings import ExactSettings
from headway.arrays import AnyArray, Float64, Int64


def left_in_share(labels: Int64, counts: Int64, trained: AnyArray, settings: ExactSettings) -> Float64:
    """What a row's loss under the head that learned it counts for, 0 to 1, float64 (n,); the rest is leave-one-out's.

    labels: int64 (n,), each of them among `counts`, int64 (C,), labels by class; trained: bool (C,), classes of which
    the training data holds samples.

    No label can tell how the head does on classes that nobody labelled, which means that have moved draw windows of. So
    the fewer classes have a label, the less is believed. Of a class that training never had this need not be feared:
    there the frozen head is always wrong.
    """
    labelled = float(np.mean(counts > 0))
    believed = np.where(trained[labels], labelled**2, 1.0)
    share: Float64 = believed * settings.left_in_labels / (settings.left_in_labels + counts[labels])
    return share


def mixed(left_out: Float64, left_in: Float64, share: Float64) -> Float64:
    """Losses of the same rows, all float64 (n,)."""
    losses: Float64 = (1.0 - share) * left_out + share * left_in
    return losses
