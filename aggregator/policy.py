"""The aggregator's settings for decisions: method, intervals and every limit, with its unit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from aggregator.averaging_policy import AveragingPolicy as AveragingPolicy
from aggregator.averaging_policy import Robust as Robust
from aggregator.averaging_policy import Strategy as Strategy
from aggregator.head_policies import HeadGatePolicy as HeadGatePolicy
from aggregator.head_policies import HeadTrialPolicy as HeadTrialPolicy
from aggregator.privacy_policy import PrivacyPolicy as PrivacyPolicy
from aggregator.privacy_policy import Unit
from aggregator.region_settings import RegionSettings
from headway.errors import ConfigError
from headway.settings import boolean, choice, integer, number, table

# samples that one device may be granted at most
SAMPLES_MAX = 100_000_000


class Method(StrEnum):
    """Which of the two heads is published."""

    EXACT = "exact"
    AVERAGE = "average"


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what a fleet can make the aggregator store or do."""

    devices_max: int = integer(20_000, low=1, doc="Devices that are known; further ones are refused.")
    stranger_days: float = number(
        7.0,
        low=0.0,
        high=3650.0,
        doc="Days unseen after which a device that never contributed gives its place when places are short.",
    )
    epochs_per_device_max: int = integer(
        64, low=1, doc="Epochs of one device: a wiped device begins a new one, which adds to the old ones."
    )
    classes_max: int = integer(
        256, low=1, high=4096, doc="Classes of a published head: the bundle's, and the foremost that devices added."
    )
    classes_per_device_max: int = integer(
        32,
        low=0,
        high=4096,
        doc="Classes that one device can add to the published head, those with most samples.",
    )
    class_samples_min: int = integer(
        5, low=1, doc="Fewest samples, of all devices together, with which a class that they added is published."
    )
    pending_updates_max: int = integer(
        20_000,
        low=1,
        doc="Gradient updates that may wait for their round; of the second half each device has an equal share.",
    )
    parts_max: int = integer(
        2_000, low=1, doc="Parts of unfinished reports, all devices together, of about 120 KB each."
    )
    events_max: int = integer(50_000, low=1, doc="Events that are kept; beyond it the oldest are deleted.")
    events_per_device_hour: int = integer(240, low=1, doc="Events of one device that are kept in an hour.")
    event_bytes_max: int = integer(
        4096, low=1, doc="Bytes of the longest detail of an event; of longer ones the start is kept."
    )
    prior_requests_per_device_hour: int = integer(
        120, low=1, doc="Requests of one device for the others' sum that are answered in an hour."
    )
    marks_per_epoch: int = integer(
        8,
        low=0,
        high=1000,
        doc="Marks of each epoch of a device, one for each day on which it reported, to which edge-fleet forget "
        "--since goes back; each takes as much as a report. 0: none.",
    )
    heads_kept_max: int = integer(16, low=1, high=10_000, doc="Published heads that are kept, of each feature space.")
    spaces_max: int = integer(
        4,
        low=1,
        high=64,
        doc="Feature spaces that are served side by side; reports of further ones are refused. Each holds a sum in "
        "memory.",
    )
    space_unused_days: float = number(
        30.0,
        low=0.0,
        high=3650.0,
        doc="Days after which a feature space that no device runs and no order names is archived: its sum is dropped, "
        "and made anew from the stored reports should a device come back to it.",
    )


@dataclass(frozen=True, slots=True)
class Weighing:
    """How much one device may weigh in the exact method's head, all its epochs together; more is stored, too."""

    samples_max: int = integer(
        100_000,
        low=1,
        high=SAMPLES_MAX,
        doc="Most samples that one device may weigh, whatever the fleet; for a parent those of a region.",
    )
    devices_min: int = integer(
        4,
        high=1_000_000,
        doc="Fewest devices with samples among which one is measured by the others: one with more than 3/2 of the "
        "samples of the device at the upper quartile, and more than chance makes of equal ones, weighs as much as "
        "that one; 0: never.",
    )
    samples_min: int = integer(
        64,
        high=10_000_000,
        doc="Samples that each of devices_min devices may weigh however few the others have, up to samples_max; in a "
        "larger fleet all together as much as those, each its share.",
    )
    class_samples_min: int = integer(
        16,
        high=10_000_000,
        doc="The most that is granted so of one class; of a class that fewer than devices_min have, each may weigh "
        "samples_min. 0: classes have no bound of their own.",
    )


@dataclass(frozen=True, slots=True)
class OutlierPolicy:
    """When a device whose statistics, or gradient updates, contradict those of all others is set aside."""

    devices_min: int = integer(
        5,
        high=1_000_000,
        doc="Fewest devices with labels among which one is compared with the others, for classifiers; updates are "
        "compared in rounds of a robust rule. 0: neither.",
    )
    devices_max: int = integer(
        1000, low=3, high=1_000_000, doc="Devices that are compared with each other, those that reported last."
    )
    interval_s: float = number(
        30.0, low=0.0, high=86_400,
        doc="Shortest time between two comparisons, seconds; longer where one takes more than a tenth of it: hundreds "
        "of devices with wide features that are hard to tell from those that contradict.",
    )  # fmt: skip
    step_s: float = number(
        0.01, low=1e-6, high=3600.0,
        doc="A comparison goes on in steps of about so many seconds of a core, reckoned from what is read; between two "
        "of them reports are taken in.",
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class DeliveryPolicy:
    """How fast bundles leave."""

    bytes_per_s: float = number(
        1_000_000.0, low=1000.0, high=1e10, doc="Bytes of bundles that leave in a second, all devices together."
    )
    devices_per_s: float = number(20.0, low=0.01, high=1e5, doc="Devices that are sent their order in a second.")
    requests_per_device_minute: int = integer(
        3000, low=1, doc="Requests of one device for ranges of a bundle that are answered in a minute."
    )


@dataclass(frozen=True, slots=True)
class AlertPolicy:
    """When alerts open and close, and how many are kept."""

    interval_s: float = number(10.0, low=1.0, high=3600.0, doc="Seconds between two looks at the rules of alerts.")
    kept_max: int = integer(
        10_000, low=1, high=1_000_000, doc="Alerts that are over and kept, and events of alerts; the oldest go."
    )
    mqtt: bool = boolean(False, doc="Whether open alerts are retained on topics of the broker.")


@dataclass(frozen=True, slots=True)
class Policy:
    """What is published, how often, and how much a fleet may make the aggregator hold."""

    method: Method = choice(
        Method.EXACT,
        tuple(Method),
        key="publish.method",
        doc='"exact" solves the head from statistics summed over the fleet; "average" is FedAvg of gradient updates.',
    )
    publish_interval_s: float = number(
        5.0, low=0.0, high=86_400, key="publish.interval_s", doc="Shortest time between two published heads, seconds."
    )
    pace_s: float = number(
        0.0,
        low=0.0,
        high=86_400,
        key="sync.pace_s",
        doc="Seconds asked of devices between two reports; 0 leaves it to them.",
    )
    shrinkage: float = number(
        0.02, low=1e-6, high=1.0, key="publish.shrinkage", doc="Shrinkage of the covariance in the exact method."
    )
    prior_devices_min: int = integer(
        3,
        high=1_000_000,
        key="publish.prior_devices_min",
        doc="Fewest devices whose summed statistics may be sent to a device that starts with few labels, its own part "
        "subtracted, since the sum of fewer would say much of each; 0: never.",
    )
    prior_labels_min: int = integer(
        64,
        low=1,
        high=1_000_000,
        key="publish.prior_labels_min",
        doc="Fewest new labels, of prior_devices_min devices at least, between two different sums that are sent so, "
        "because whoever has both knows the difference.",
    )
    prior_device_labels_min: int = integer(
        8,
        low=1,
        high=1_000_000,
        key="publish.prior_device_labels_min",
        doc="Fewest new labels of one device with which its part of such sums changes; with fewer it stays as it was.",
    )
    head_devices_min: int = integer(
        1,
        low=1,
        high=1_000_000,
        key="publish.devices_min",
        doc='Fewest devices with new labels between two heads in a row, for method = "exact", because whoever has both '
        "knows the difference; 1: a head follows from any report. A removed device is out at once all the same.",
    )
    head_labels_min: int = integer(
        1,
        low=1,
        high=1_000_000,
        key="publish.labels_min",
        doc="Fewest new labels of all devices together between two heads in a row; 1: a head follows from any report.",
    )
    weighing: Weighing = table(
        Weighing(), "weighing", doc='How much one device may weigh in the head, for method = "exact".'
    )
    outliers: OutlierPolicy = table(
        OutlierPolicy(), "outliers", doc="When a device that contradicts all others is set aside."
    )
    averaging: AveragingPolicy = table(
        AveragingPolicy(), "averaging", doc='How gradient updates become a head, for method = "average".'
    )
    head_trial: HeadTrialPolicy = table(
        HeadTrialPolicy(), "head_trial", doc="New heads tried by a few devices before everybody gets them."
    )
    head_gate: HeadGatePolicy = table(
        HeadGatePolicy(), "head_gate", doc="A worse head is not published, or withdrawn again."
    )
    privacy: PrivacyPolicy = table(
        PrivacyPolicy(), "privacy", doc="Noise on heads, and the budget that it is accounted against."
    )
    delivery: DeliveryPolicy = table(DeliveryPolicy(), "delivery", doc="How fast bundles leave.")
    alerts: AlertPolicy = table(AlertPolicy(), "alerts", doc="What is told to operators, see edge-fleet alert-rules.")
    region: RegionSettings = table(
        RegionSettings(), "region", doc="The parent server that this one reports its sum to, as one of its devices."
    )
    limits: Limits = table(Limits(), "limits", doc="What a fleet can make the aggregator store or do.")

    def __post_init__(self) -> None:
        if self.region.name and self.method is not Method.EXACT:
            raise ConfigError(
                f'[region] name = {self.region.name!r} needs [publish] method = "exact", and it is "{self.method}": '
                "rounds of averages have no sum to report"
            )
        if self.region.name and self.privacy.wanted:
            raise ConfigError(
                f"[region] name = {self.region.name!r} reports the exact sum to its parent, which [privacy] is to "
                "keep; set [privacy] on the parent alone"
            )
        if self.privacy.wanted and self.method is Method.AVERAGE:
            self.privacy.check_rounds(self.averaging)
            if self.updates_per_device < 1:
                raise ConfigError(
                    f"limits: pending_updates_max = {self.limits.pending_updates_max} is less than devices_max = "
                    f"{self.limits.devices_max}, and with [privacy] no device may keep another's update out; raise it"
                )

    @property
    def in_effect(self) -> Policy:
        """The same without what noise cannot hide: with it nothing that is told may follow from exact sums.

        No sum is told as a prior, no class of devices is published, nobody is set aside by comparison, and what a
        device weighs depends on no other. In rounds that average all weigh the same.
        """
        if not self.privacy.wanted:
            return self
        most = self.privacy.device_labels_max if self.privacy.unit is Unit.DEVICE else SAMPLES_MAX
        return replace(
            self,
            prior_devices_min=0,
            weighing=replace(self.weighing, samples_max=most, devices_min=0),
            outliers=replace(self.outliers, devices_min=0),
            averaging=replace(self.averaging, samples_max=1),
            limits=replace(self.limits, classes_per_device_max=0),
        )

    @property
    def updates_per_device(self) -> int:
        """Gradient updates of one device that may wait, 0 for as many as there is room for: with noise whether a device
        is there must not change what is taken in of others."""
        private = self.privacy.wanted and self.method is Method.AVERAGE
        return self.limits.pending_updates_max // self.limits.devices_max if private else 0
