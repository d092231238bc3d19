"""Settings of learning: which learner runs and what it serves, and when labels are learned."""

from __future__ import annotations

from dataclasses import dataclass

from headway.maths import Loss, Optimizer
from headway.settings import boolean, check, choice, integer, number


@dataclass(frozen=True, slots=True)
class LearnerSettings:
    """Which learner runs, and the gate between learning and serving."""

    kind: str = choice(
        "auto",
        ("auto", "exact", "gradient"),
        doc='The learner: "exact" solves the head from integer statistics and forgets nothing; "gradient" descends '
        'on the head with rehearsal, for fleets that average; "auto" is exact where the bundle has statistics.',
    )
    recent_rows: int = integer(
        256, low=1, high=1 << 16, doc='Newest labels that the figures called "recent" look back on.'
    )
    optimizer: str = choice("momentum", tuple(Optimizer), doc="Gradient learner: how a gradient becomes a step.")
    loss: str = choice(
        "auto",
        ("auto", *Loss),
        doc='Gradient learner: the loss; "auto" goes by the model: cross-entropy for classes, binary-cross-entropy for '
        'several labels, mse for values; "huber" gives outliers less weight than mse.',
    )
    learning_rate: float = number(
        1.0,
        low=1e-6,
        high=100,
        remote=True,
        doc="Gradient learner: length of a step, in units of the longest step that surely descends on this model's "
        "features, so that 1 suits every model.",
    )
    learning_rate_decay: float = number(
        0.0, low=0.0, high=1.0, doc="Gradient learner: step t is shortened by 1 / (1 + learning_rate_decay * t)."
    )
    momentum: float = number(
        0.9,
        low=0.0,
        high=0.999,
        doc='Gradient learner: how much of the last step is kept by "momentum" and "nesterov".',
    )
    clip_norm: float = number(0.0, low=0.0, high=1e6, doc="Gradient learner: longest gradient, L2 norm; 0: no limit.")
    huber_delta: float = number(
        1.0,
        low=1e-6,
        high=1e6,
        doc='Gradient learner: where "huber" turns from square to straight, in standard deviations of the output over '
        "the training data.",
    )
    l2: float = number(0.0, low=0.0, high=1e3, doc="Gradient learner: strength of the pull to zero.")
    proximal: float = number(0.0, low=0.0, high=1e3, doc="Gradient learner: strength of the pull to the fleet's head.")
    l2_sp: float = number(0.0, low=0.0, high=1e3, doc="Gradient learner: strength of the pull to the head as shipped.")
    schedule: str = choice(
        "online",
        ("online", "batch", "scheduled"),
        formerly="train",
        doc='Gradient learner: "online" takes steps_per_label steps on every label; "batch" makes train_epochs passes '
        'over each train_rows labels; "scheduled" makes them over everything that is rehearsed.',
    )
    steps_per_label: int = integer(4, low=1, high=1000, doc='Gradient learner: steps on each label, with "online".')
    train_rows: int = integer(
        16, low=1, high=1 << 16, doc='Gradient learner: labels that begin a training run, but for "online".'
    )
    train_epochs: int = integer(
        12, low=1, high=1000, doc='Gradient learner: passes over the data in a training run, but for "online".'
    )
    batch_rows: int = integer(
        16, low=1, high=4096, doc="Gradient learner: rows of one step, filled up with rehearsed ones."
    )
    replay_rows: int = integer(
        256, low=1, high=1 << 16, doc="Gradient learner: labelled rows kept to rehearse, shared out over the classes."
    )
    training_worth: float = number(
        4.0,
        low=0.0,
        high=1e6,
        formerly="source_worth",
        doc="Gradient learner: own labels of a class that weigh as much in rehearsal as the training rows of it that "
        "the bundle brings.",
    )
    seed: int = integer(0, high=2**32, doc="Gradient learner: seed of the draws to rehearse.")
    update_labels: int = integer(
        16,
        low=1,
        high=1 << 20,
        doc='Gradient learner: labels per update sent to an aggregator with method = "average".',
    )
    new_classes: bool = boolean(
        False,
        remote=True,
        doc="Accept labels of classes that the model does not know, by name, and learn them as new classes.",
    )
    horizon_rows: int = integer(
        1024, high=1 << 20, doc="Windows with an id that are remembered for labels that come later, 0.5 to 2 KB each."
    )
    gate_discount: float = number(
        0.99,
        low=0.5,
        high=1.0,
        remote=True,
        doc="Weight of each older label against the next newer one when heads are compared.",
    )
    gate_margin: float = number(
        1.0,
        low=0.0,
        high=100.0,
        remote=True,
        doc="How much smaller a head's sum of losses must be before it replaces another.",
    )
    gate_errors: float = number(
        1.0, low=0.0, high=10.0, remote=True, doc="Standard errors by which its advantage must also exceed zero."
    )
    drift: str = choice(
        "adwin",
        ("adwin", "page-hinkley", "off"),
        doc='Watches whether what is served goes wrong more often than before; "page-hinkley" is surer of small rises '
        "and less sure of its silence where errors are many. After an alarm the exact learner may forget what was "
        "before.",
    )
    feature_drift: bool = boolean(
        True,
        remote=True,
        doc="Watch, without labels, whether features still look like before; reports and asks for labels, no more.",
    )
    wanted_labels_max: int = integer(
        16,
        high=1024,
        remote=True,
        doc='Labels that an alarm asks for (event "labels-wanted"), the least certain windows; 0: never.',
    )
    self_training: float = number(
        0.0,
        low=0.0,
        high=1.0,
        doc="Exact learner: once every class has a label, learn a window with an id by its prediction, until its "
        "label comes, if the probability is at least this, and while labels are few start from where all such windows "
        "lie (1: this alone); never scored or sent to the fleet; 0: off.",
    )
    persistence: bool = boolean(
        True, remote=True, doc="Answer with what lasts, classes or errors of values, while labels show that it pays."
    )
    conditions: bool = boolean(
        False, doc="Exact learner, up to 512 features: keep conditions that come back apart, and answer for the newest."
    )
    fleet_prior: bool = boolean(
        True,
        remote=True,
        doc="Exact learner: while this device has fewer than 128 labels, start from what others learned.",
    )

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, slots=True)
class PolicySettings:
    """When labels are learned, and how much a step may take."""

    trigger: str = choice(
        "always",
        ("always", "labels", "interval", "drift"),
        formerly="train",
        remote=True,
        doc='When waiting labels are learned: at once ("always"), when every_labels wait ("labels"), every every_s '
        'seconds ("interval"), or after an alarm all that wait and the next every_labels ("drift").',
    )
    every_labels: int = integer(
        64,
        low=1,
        high=1 << 20,
        remote=True,
        doc='Labels that "labels" waits for, and that "drift" learns after those that wait.',
    )
    every_s: float = number(
        3600.0, low=1.0, high=30 * 86_400, remote=True, doc='Seconds between two trainings, with "interval".'
    )
    load_max: float = number(
        0.0,
        low=0.0,
        high=1024,
        remote=True,
        doc="Learn only while the load average of a minute is at most this; 0: no limit.",
    )
    temperature_c_max: float = number(
        0.0,
        low=0.0,
        high=150,
        remote=True,
        doc="Learn only while the warmest thermal zone has at most so many degrees Celsius; 0: no limit.",
    )
    mains_only: bool = boolean(False, remote=True, doc="Learn only on external power, where there is a battery.")
    step_labels_max: int = integer(1024, high=1 << 20, remote=True, doc="Labels that one step may learn; 0: no limit.")
    step_s_max: float = number(
        1.0, low=0.01, high=3600, remote=True, doc="Seconds that one step may take before waiting windows are answered."
    )
    waiting_rows_max: int = integer(
        10_000,
        low=1,
        high=1 << 20,
        doc="Labels that may wait; beyond it the oldest are learned whatever the policy says.",
    )
    waiting_bytes_max: int = integer(64 << 20, low=1 << 16, doc="Bytes that waiting labels may take, likewise.")
    early_labels_max: int = integer(
        1_000,
        high=1 << 20,
        doc="Labels that may wait for windows that have not come yet; beyond it the oldest are forgotten and counted.",
    )
