"""Every number of the exact learner, in one place. `benchmarks.learning --ablate` measures what each part is worth.

They are no part of the configuration: chosen once, they hold for every model and device. Another value is another
`ExactSettings`, as the ablation makes them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from headway.errors import LocalError
from headway.maths import TEMPERATURES

SINCE_DRIFT = -1


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one expert is solved.

    worth: what a class mean of the training data counts for, in samples. lookback_labels: the newest labels that it is
    solved from, 0 for all, `SINCE_DRIFT` for those since the last drift. local_priors: class priors from the device's
    own labels instead of uniform ones, once it has met every class. ridge: ridge regression instead of a discriminant.
    labels_max: given up beyond so many labels, 0 for never. every_class: True, only once every class has a label;
    False, only until then; None, always. window_means: the prior's means are those of windows without a label
    (window_means.py); while there are any, and some class has fewer than `class_labels_min` labels. condition: solved
    from the labels of the condition that holds (conditions.py), once there are several.
    """

    name: str
    worth: float = 2.0
    lookback_labels: int = 0
    local_priors: bool = False
    ridge: bool = False
    labels_max: int = 0
    every_class: bool | None = None
    window_means: bool = False
    condition: bool = False

    @property
    def solution(self) -> tuple[bool, float, int, bool, bool]:
        """Recipes of which this is equal come from one factorisation."""
        return self.ridge, self.worth, self.lookback_labels, self.window_means, self.condition


# while labels are few nobody knows how far to trust them, so that experts help that trust them less or more; later they
# only cost. Less is right while means that labels moved draw windows of the classes that have none.
EARLY_LABELS = 256

RECIPES = (
    Recipe("quick"),
    Recipe("quick-prior", local_priors=True),
    Recipe("steady", worth=10.0, labels_max=EARLY_LABELS, every_class=False),
    Recipe("keen", worth=1.0, labels_max=EARLY_LABELS, every_class=True),
    Recipe("ridge", worth=1.0, ridge=True, labels_max=EARLY_LABELS),
    Recipe("windows", window_means=True),
    Recipe("long-prior", lookback_labels=1024, local_priors=True),
    Recipe("newest", lookback_labels=64),
    Recipe("since-drift", lookback_labels=SINCE_DRIFT),
    Recipe("condition", condition=True),
)

# experts that a state of an earlier version may know; those that are left share their weight
RETIRED = ("long", "recent", "recent-prior")


@dataclass(frozen=True, slots=True)
class ExactSettings:
    """What the experts are, and how they are judged, calibrated and brought up to date.

    recipes: the experts. The first one is a discriminant over all labels; it and those of the same solution follow
    every label at once.

    few_labels (labels): up to where heads are judged by leave-one-out, see `few`. 128 rows tell apart what is worth
    telling apart, and all of them can still be left out one by one at the cost of one more solve.
    evidence_rows (labels): the newest labels that stay as rows, to be left out of the heads that learned them. As many
    as are few, so that every one of the few is asked.
    left_in_labels (labels of a class): so many make leave-one-out count as much as the fit with the row left in, see
    `left_in`. Between one, which still leaves half of what one label brings unheard, and two, with which more devices
    fare worse than their frozen head.
    remember_labels (labels): below it nothing is forgotten, unless after a drift: a short look-back would know some
    classes or conditions from a handful of labels.

    class_labels_min (labels of each class): from here on the device's own class frequencies are believed.
    unlabelled_nats, unlabelled_labels (nats; labels): head start of a class without a label, see `recipes.head_start`,
    and after how many labels half of it is left. A class not met in the first hours may still come; one not met among
    hundreds of labels is rare.

    drift_labels_min, drift_labels_max (labels): so many since a drift have an expert of their own. Eight give one row
    per class or so; after thousands the drift is history, and other look-backs have taken over.
    drift_coverage (share of all labels): must be of classes that were met again since the drift.

    temperatures: what logits may be divided by; of one value only, there is nothing to fit.
    temperature_log2 (log2): the usual temperature. Discriminants under a shared covariance are overconfident where a
    sensor has moved; 4 is where they tend to end up.

    loss_max (nats): one surprise counts no more than that, a label may be wrong.
    few_rate, rate: share of a loss that moves the weights, while labels are few and later. 1 is Bayes' rule; experts
    that erred alike on ten rows may differ on the next ten, so that a third of that is believed at first.
    discount (per label): what remains of earlier losses; 0.99 looks back on some hundred labels.
    share: part of the weight that is dealt out evenly with every label, so that who was bad yesterday can come back.

    bucket_labels, buckets_max, fine_buckets (labels; buckets): the grain of look-backs, the most that are kept, and how
    many of the newest are never merged. 64 is the shortest look-back; 32 buckets keep a state of some megabytes.
    pseudo_label_batch (windows): so many wait for one refit.

    window_worth (samples): what a training mean counts for beside windows without a label.
    window_sweeps: how often these are guessed anew; they hardly change after three.
    window_shares: least and most share of the guesses that a class may have, in multiples of an even one.

    conditions_max (conditions): kept apart at most.
    condition_labels (labels): so many newest ones, far from all conditions by their median, are the first of a new one.
    condition_distance: how far that is, in multiples of the median distance of the labels before, and in standard
    errors. Within a condition the ratio stays near 1; a watch or an image upside down makes it 1.8 to 7.
    condition_usual (labels): fewest and most labels before that say what is usual.
    condition_stay: probability that the condition holds from one label to the next.
    condition_temperature: what distances are divided by, as windows that follow each other are alike.
    condition_features_max (codes): with more features there are no conditions; their sums would cost too much memory.

    small_features (codes): up to here every label is worth a refit while labels are few.
    refit_labels (labels): between two refits later, for up to `small_features`, up to twice as many, and more: so many
    that solving all experts costs a label less than predicting it.
    features_per_refit_label (codes): of many more, one label more for so many, as solving grows with their cube and
    following a label with their square.

    row_features, features_per_row (codes): with more features than that, and so many for each label, heads are solved
    from the labelled rows in the axes of the training data's scatter instead of from sums: systems of a size of the
    labels, not of the features.
    """

    recipes: tuple[Recipe, ...] = RECIPES

    few_labels: int = 128
    evidence_rows: int = 128
    left_in_labels: float = 1.5
    remember_labels: int = 512

    class_labels_min: int = 3
    unlabelled_nats: float = 1.0
    unlabelled_labels: int = 256

    drift_labels_min: int = 8
    drift_labels_max: int = 4096
    drift_coverage: float = 0.9

    temperatures: tuple[float, ...] = tuple(TEMPERATURES.tolist())
    temperature_log2: float = 2.0

    loss_max: float = 4.0
    few_rate: float = 0.3
    rate: float = 1.0
    discount: float = 0.99
    share: float = 0.01

    bucket_labels: int = 64
    buckets_max: int = 32
    fine_buckets: int = 8
    pseudo_label_batch: int = 16

    window_worth: float = 4.0
    window_sweeps: int = 3
    window_shares: tuple[float, float] = (0.35, 2.2)

    conditions_max: int = 4
    condition_labels: int = 16
    condition_distance: tuple[float, float] = (2.0, 5.0)
    condition_usual: tuple[int, int] = (64, 128)
    condition_stay: float = 0.99
    condition_temperature: float = 4.0
    condition_features_max: int = 512

    small_features: int = 128
    refit_labels: tuple[int, int, int] = (16, 64, 128)
    features_per_refit_label: int = 5

    row_features: int = 256
    features_per_row: int = 4

    def __post_init__(self) -> None:
        first = self.recipes[0] if self.recipes else Recipe("", ridge=True)
        if (
            first.ridge
            or first.lookback_labels
            or first.window_means
            or first.condition
            or first.every_class is not None
        ):
            raise LocalError("the first recipe must be a discriminant over all labels: it follows every label at once")

    @property
    def usual_temperature(self) -> float:
        """That of an expert that no label has calibrated yet."""
        return min(self.temperatures, key=lambda value: abs(math.log2(value) - self.temperature_log2))

    def few(self, labels: int) -> bool:
        """The one choice between two ways to judge heads by labels that they have not seen.

        True, leave-one-out: each label is predicted by heads solved without it. A handful of labels then judges heads
        that have learned all the others, instead of heads that had learned next to nothing when those labels came.
        False, prequential: each label is predicted before it is learned. That is what serving is like, also where
        things change, and once labels are many it is evidence enough.

        It holds for the experts in the pool and for the pool at the gate. labels: those in the buckets, so that the
        choice is the same from one refit to the next.
        """
        return labels < self.few_labels

    def refit_interval(self, size: int, labels: int) -> int:
        """Labels between two refits, of `size` codes each, once `labels` are known."""
        if self.few(labels):
            return 1 if size <= self.small_features else 1 + labels // 8
        least = self.refit_labels[min(2, (size - 1) // self.small_features)]
        return max(least, size // self.features_per_refit_label) if size > 2 * self.small_features else least

    def from_rows(self, size: int, labels: int) -> bool:
        """Whether so many labels of `size` codes each are solved from their rows."""
        return size > self.row_features and labels * self.features_per_row <= size

    @property
    def longest_lookback_labels(self) -> int:
        """Beyond so many labels nobody asks when a label came, but for whether it was before the last drift."""
        return max(recipe.lookback_labels for recipe in self.recipes)

    def calibrations(self, labels: int) -> int:
        """Grows whenever temperatures are due: every `evidence_rows` labels, later less often."""
        step = self.evidence_rows
        while labels > 8 * step:
            step *= 2
        return labels // step * step
