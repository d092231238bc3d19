"""What the fleet is like at one moment, read from the store, as metrics without a label that a device could choose."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeHistogramMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from aggregator.alerts import Severity, Silenced, State, events_so_far
from aggregator.bundle_sender import NOT_DEVICES
from aggregator.heads import GateState
from aggregator.registry import COUNTED, DRIFT, GATE, REASONS, REFUSED, bounded
from aggregator.rollouts import OPEN
from aggregator.rollouts import State as RolloutState
from aggregator.store import DEGRADED, GOOD, OFFLINE, ON, ONLINE, PAUSED, PROBLEM, UNKNOWN, Store
from aggregator.store.rows import (
    ALERT_CHANNELS,
    ALERTS,
    CERTIFICATES,
    HEAD_GATES,
    PRIVACY_SPENT,
    QUARANTINED,
    ROLLOUT_DEVICES,
    ROLLOUTS,
    TALLIES,
)

COLUMNS = (
    "link", "health", "learning", "head", "labels", "scored", "accuracy_gain", "drift_s", "last_seen_s",
)  # fmt: skip
LINKS, HEALTHS, LEARNINGS = (ONLINE, OFFLINE, UNKNOWN), (GOOD, PROBLEM, DEGRADED, UNKNOWN), (ON, PAUSED, UNKNOWN)
HEADS = ("frozen", "exact", "gradient", "fleet", "other")
GAIN_BOUNDS = (-0.2, -0.1, -0.05, -0.02, 0.0, 0.02, 0.05, 0.1, 0.2, 0.4)
ENOUGH_SCORED = 100
DAY_S = 86_400.0
HOUR_S = 3600.0


def fleet_metrics(store: Store, now_s: float) -> list[Metric]:
    """Outside a transaction: each part has one of its own, which need not be of one moment. now_s: wall clock."""
    families: list[Metric] = []
    for part in (_devices, _tallies, _deliveries, _store, _alerts):
        with store.reading():
            families += part(store, now_s)
    return families


def _devices(store: Store, now_s: float) -> Iterator[Metric]:
    rows = store.registry.columns(COLUMNS)
    links, healths, learnings, heads, labels, scored, gains, drifts, seen = (
        zip(*rows, strict=True) if rows else [()] * 9
    )
    yield _gauge("headway_devices", "Devices that are known.", len(rows))
    yield _counted("headway_devices_by_link", "Devices by their link to the broker.", "link", links, LINKS)
    yield _counted("headway_devices_by_health", "Devices by what they say of themselves.", "health", healths, HEALTHS)
    yield _counted("headway_devices_by_learning", "Devices by whether they learn.", "learning", learnings, LEARNINGS)
    served = [bounded(head, HEADS) for head in heads]
    yield _counted("headway_devices_by_head", "Devices by the head that their gate has chosen.", "head", served, HEADS)
    silent = sum(now_s - at > HOUR_S for at in seen)
    yield _gauge("headway_devices_silent", "Devices without a message for an hour.", silent)
    below = sum(
        gain is not None and gain < 0 and count >= ENOUGH_SCORED for gain, count in zip(gains, scored, strict=True)
    )
    yield _gauge(
        "headway_devices_below_frozen", f"Devices worse than their frozen head, after {ENOUGH_SCORED} labels.", below
    )
    drifted = sum(at is not None and now_s - at < DAY_S for at in drifts)
    yield _gauge("headway_devices_drifted", "Devices with a drift alarm within a day.", drifted)
    quarantined = len(store.rows(QUARANTINED).greatest("since_s", per="device"))
    yield _gauge("headway_devices_quarantined", "Devices with a report that is set aside.", quarantined)
    yield _gauge("headway_labels_learned", "Labels that the devices have learned.", sum(labels))
    yield _gauge("headway_labels_scored", "Labels that were compared with the answer before.", sum(scored))
    yield _histogram(
        "headway_accuracy_gain_ratio", "Accuracy served less accuracy of the frozen head, by devices.",
        [gain for gain in gains if gain is not None], GAIN_BOUNDS,
    )  # fmt: skip


def _tallies(store: Store, _: float) -> Iterator[Metric]:
    # a counter that begins with its first event hides that one from rate()
    found: dict[str, dict[str, float]] = {REFUSED: dict.fromkeys(REASONS, 0.0)}
    for tally, __, known in COUNTED.values():
        found[tally] = dict.fromkeys(known, 0.0)
    for row in store.rows(TALLIES).all():
        found.setdefault(row.what, {})[row.label] = float(row.count)
    for name, doc, label, tally in (
        ("headway_messages_refused", "Messages of devices that were refused.", "reason", REFUSED),
        ("headway_drift_alarms", "Drift alarms of devices.", "by", DRIFT),
        ("headway_gate_decisions", "Times that a gate chose this head in place of another.", "head", GATE),
    ):
        family = CounterMetricFamily(name, doc, labels=[label])
        for value, count in found[tally].items():
            family.add_metric([value], count)
        yield family


def _deliveries(store: Store, _: float) -> Iterator[Metric]:
    orders = [row for row in store.deliveries() if row.sha256 and row.device not in NOT_DEVICES]
    states = ["sent" if row.done else "waiting" for row in orders]
    yield _counted("headway_deliveries", "Orders of bundles for devices.", "state", states, ("sent", "waiting"))
    rollouts = store.rows(ROLLOUTS).all()
    known = tuple(map(str, RolloutState))
    yield _counted("headway_rollouts", "Rollouts by state.", "state", [row.state for row in rollouts], known)
    states = [
        device.state
        for row in rollouts
        if row.state in OPEN
        for device in store.rows(ROLLOUT_DEVICES).all(row.name)
    ]  # fmt: skip
    yield _counted("headway_rollout_devices", "Devices of the open rollout, by state.", "state", states, ())
    head = store.head()
    yield _gauge(
        "headway_head_version", "Version of the newest head; 0: none was published.", head.version if head else 0
    )
    yield _gauge(
        "headway_head_published_timestamp_seconds", "When it was published.", head.published_s if head else 0.0
    )
    gates = [row.state for row in store.rows(HEAD_GATES).all()]
    known = tuple(map(str, GateState))
    yield _gauge(
        "headway_private_heads",
        "Heads with noise that were made, which spend the privacy budget.",
        sum(row.heads for row in store.rows(PRIVACY_SPENT).all()),
    )
    yield _counted("headway_head_gates", "Gates of heads, one of each feature space.", "state", gates, known)
    expiries = [float(at) for at in store.rows(CERTIFICATES).greatest("expires_s", "device", revoked_s=0.0).values()]
    family = GaugeMetricFamily(
        "headway_certificates_expiry_timestamp_seconds", "When the first of the devices' newest certificates expires."
    )
    if expiries:
        family.add_metric([], min(expiries))
    yield family


def _store(store: Store, _: float) -> Iterator[Metric]:
    yield _gauge("headway_store_size_bytes", "Bytes that the database takes.", store.size_bytes())
    yield _gauge("headway_updates_waiting", "Gradient updates that wait for a round.", store.update_count())


def _alerts(store: Store, now_s: float) -> Iterator[Metric]:
    silenced = Silenced(store, now_s)
    counts: Counter[tuple[str, str]] = Counter()
    for alert in store.rows(ALERTS).where(state=str(State.OPEN)):
        state = "acknowledged" if alert.acknowledged_by else "silenced" if alert in silenced else "open"
        counts[alert.severity, state] += 1
    family = GaugeMetricFamily("headway_alerts", "Alerts that are open.", labels=["severity", "state"])
    for severity in Severity:
        for state in ("open", "acknowledged", "silenced"):
            family.add_metric([severity, state], counts[severity, state])
    yield family
    newest = events_so_far(store)
    events = CounterMetricFamily("headway_alert_events", "Changes of alerts that were to be told.")
    events.add_metric([], newest)
    yield events
    waiting = GaugeMetricFamily(
        "headway_alert_events_waiting", "Events that a channel was not told.", labels=["channel"]
    )
    failing = GaugeMetricFamily("headway_alert_channel_failing", "1 while a channel fails.", labels=["channel"])
    given_up = CounterMetricFamily(
        "headway_alert_events_given_up", "Events that a channel was never told.", labels=["channel"]
    )
    for row in store.rows(ALERT_CHANNELS).all():
        waiting.add_metric([row.channel], newest - row.told)
        failing.add_metric([row.channel], float(row.failed_s > 0))
        given_up.add_metric([row.channel], row.given_up)
    yield from (waiting, failing, given_up)


def _gauge(name: str, doc: str, value: float) -> Metric:
    return GaugeMetricFamily(name, doc, value=value)


def _counted(name: str, doc: str, label: str, values: Iterable[str], known: Iterable[str]) -> Metric:
    """A gauge for each value, also for those of `known` that nothing has."""
    counts: Mapping[str, int] = Counter(values)
    family = GaugeMetricFamily(name, doc, labels=[label])
    for value in sorted({*known, *counts}):
        family.add_metric([value], counts.get(value, 0))
    return family


def _histogram(name: str, doc: str, values: list[float], bounds: tuple[float, ...]) -> Metric:
    counts = Counter(bisect_left(bounds, value) for value in values)
    buckets, total = [], 0
    for place, bound in enumerate((*bounds, float("inf"))):
        total += counts[place]
        buckets.append((f"{bound:g}" if place < len(bounds) else "+Inf", float(total)))
    return GaugeHistogramMetricFamily(name, doc, buckets=buckets, gsum_value=sum(values))
