"""The words that a filter over devices may use. The table in docs/howto/find-devices.md is checked against them."""

from __future__ import annotations

from aggregator.filters import Field, Quantity, Vocabulary
from aggregator.store import DEGRADED, GOOD, OFFLINE, ON, ONLINE, PAUSED, PROBLEM, UNKNOWN
from aggregator.store.rows import ATTRIBUTE, NOTE, TAG

_FIELDS = (
    Field("device", ("device",), Quantity.TEXT, "name of the device"),
    Field("link", ("link",), Quantity.TEXT, "connection to the broker", (ONLINE, OFFLINE, UNKNOWN)),
    Field("health", ("health",), Quantity.TEXT, "whether it reports a problem", (GOOD, PROBLEM, DEGRADED, UNKNOWN)),
    Field("learning", ("learning",), Quantity.TEXT, "whether labels are learned", (ON, PAUSED, UNKNOWN)),
    Field("silent_for", ("last_seen_s",), Quantity.DURATION, "since its last message"),
    Field("known_for", ("first_seen_s",), Quantity.DURATION, "since its first message"),
    Field("link_for", ("link_since_s",), Quantity.DURATION, "since `link` changed"),
    Field("health_for", ("health_since_s",), Quantity.DURATION, "since `health` changed"),
    Field("learning_for", ("learning_since_s",), Quantity.DURATION, "since `learning` changed"),
    Field("problem", ("problem",), Quantity.TEXT, "what it says is wrong"),
    Field("bundle", ("bundle", "bundle_and_version"), Quantity.TEXT, 'name of its bundle, or name and version'),
    Field("bundle_version", ("bundle_version",), Quantity.TEXT, "version of its bundle"),
    Field("release", ("release",), Quantity.NUMBER, "release of its bundle"),
    Field("space", ("space",), Quantity.TEXT, "its feature space"),
    Field("delivery", ("delivery",), Quantity.TEXT, "where the delivery of a bundle stands"),
    Field("head", ("head",), Quantity.TEXT, "the head that serves"),
    Field("learner", ("learner",), Quantity.TEXT, "its learner: exact or gradient"),
    Field("runtime", ("runtime",), Quantity.TEXT, "its inference runtime"),
    Field("agent_version", ("agent_version",), Quantity.TEXT, "version of edge-agent"),
    Field("machine", ("machine",), Quantity.TEXT, "processor and Python"),
    Field("labels", ("labels",), Quantity.NUMBER, "labels that it learned"),
    Field("scored", ("scored",), Quantity.NUMBER, "labels of this epoch that were compared with the answer before"),
    Field("served_accuracy", ("served_accuracy",), Quantity.SHARE, "accuracy of what was served, this epoch"),
    Field("frozen_accuracy", ("frozen_accuracy",), Quantity.SHARE, "accuracy of the frozen head on the same labels"),
    Field("accuracy_gain", ("accuracy_gain",), Quantity.SHARE, "served less frozen"),
    Field("recent_served_accuracy", ("recent_served_accuracy",), Quantity.SHARE, "the same, of the newest labels"),
    Field("recent_frozen_accuracy", ("recent_frozen_accuracy",), Quantity.SHARE, "the same, of the newest labels"),
    Field("recent_accuracy_gain", ("recent_accuracy_gain",), Quantity.SHARE, "the same, of the newest labels"),
    Field("served_r2", ("served_r2",), Quantity.NUMBER, "R2 of what was served, of a regression"),
    Field("frozen_r2", ("frozen_r2",), Quantity.NUMBER, "R2 of the frozen head, of a regression"),
    Field("drift_alarms", ("drift_alarms",), Quantity.NUMBER, "drift alarms so far"),
    Field("since_drift", ("drift_s",), Quantity.DURATION, "since the last drift alarm"),
    Field("refused", ("refused",), Quantity.NUMBER, "messages that were refused so far"),
    Field("refused_reason", ("refused_reason",), Quantity.TEXT, "why the last one was refused"),
    Field("since_refusal", ("refused_s",), Quantity.DURATION, "since the last refusal"),
    Field("disk_free", ("disk_free_bytes",), Quantity.BYTES, "free on the disk of its state folder"),
    Field("memory_free", ("memory_free_bytes",), Quantity.BYTES, "memory that programs can still have"),
    Field("temperature", ("temperature_c",), Quantity.TEMPERATURE, "of the warmest thermal zone"),
    Field("bytes_per_day", ("bytes_per_day",), Quantity.BYTES, "received from it, a mean that leans on the last week"),
)  # fmt: skip

VOCABULARY = Vocabulary(
    {field.name: field for field in _FIELDS},
    families=(TAG, ATTRIBUTE),
    plain=(NOTE,),
    flags=("quarantined", "settings_pending", "settings_refused"),
)
