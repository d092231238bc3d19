"""Every number of the exact learner: the recipes that it solves, and what it does with them.

None of them is in the configuration: they were chosen once, for every model, and `benchmarks.learning --ablate` shows
what each part is worth. Another value is an `ExactSettings` of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

from headway.maths import TEMPERATURES

SINCE_DRIFT = -1


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one expert is solved.

    worth: what a source class counts for, in samples; lookback_labels: how many of the newest labels it is solved
    from, 0 for all, `SINCE_DRIFT` for those since the last drift. ridge: ridge regression instead of a discriminant.
    local_priors: class priors from the device's own labels instead of uniform ones, once it has met every class.
    labels_max: given up beyond so many labels, 0 for never.
    """

    name: str
    worth: float = 2.0
    lookback_labels: int = 0
    local_priors: bool = False
    labels_max: int = 0
    ridge: bool = False


# experts that help while labels are few are given up beyond so many
EARLY_LABELS = 256

RECIPES = (
    Recipe("quick"),
    Recipe("quick-prior", local_priors=True),
    Recipe("steady", worth=10.0, labels_max=EARLY_LABELS),
    Recipe("ridge", worth=1.0, labels_max=EARLY_LABELS, ridge=True),
    Recipe("long", lookback_labels=1024),
    Recipe("long-prior", lookback_labels=1024, local_priors=True),
    Recipe("recent", lookback_labels=256),
    Recipe("recent-prior", lookback_labels=256, local_priors=True),
    Recipe("newest", lookback_labels=64),
    Recipe("since-drift", lookback_labels=SINCE_DRIFT),
)


@dataclass(frozen=True, slots=True)
class ExactSettings:
    """Counts are labels, losses nats, unless said otherwise."""

    recipes: tuple[Recipe, ...] = RECIPES
    # what logits may be divided by; (1.0,) leaves them as they are solved
    temperatures: tuple[float, ...] = tuple(TEMPERATURES.tolist())
    # the newest labels that experts are calibrated on
    evidence_rows: int = 128
    # below it no look-back is shorter than the whole past, and leave-one-out covers every label
    few_labels: int = 128
    # below it nothing is forgotten: a head would know some classes or conditions from a handful of labels
    remember_labels: int = 512
    # labels of each class from which local class frequencies are believed
    class_labels_min: int = 3
    # head start of a class without a label, in nats, and after how many labels half of it is left
    unlabelled_nats: float = 1.0
    unlabelled_labels: int = 256
    # labels since a drift from which, and up to which, they have an expert of their own
    drift_labels_min: int = 8
    drift_labels_max: int = 4096
    # share of all labels that must be of classes met since a drift
    drift_coverage: float = 0.9
    # one surprise counts no more than this
    loss_max: float = 4.0
    # share of a loss that counts, while labels are few and later
    few_rate: float = 0.3
    rate: float = 1.0
    # what a weight's logarithm keeps from one label to the next
    discount: float = 0.99
    # share of the weight that is spread over all experts at every label
    share: float = 0.01
    bucket_labels: int = 64
    buckets_max: int = 32
    # features up to which every label is worth a solve while labels are few
    small_features: int = 128
    # labels between two solves, for up to `small_features`, twice as many, and more
    solve_labels: tuple[int, int, int] = (16, 64, 128)
