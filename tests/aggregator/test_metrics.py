"""Metrics for Prometheus: values, bounded labels, the names in rules and dashboard, scrapers that hold up nobody."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from aggregator.alerts.delivery import begin_channels
from aggregator.bundle_sender import NOT_DEVICES
from aggregator.monitoring.server import CONNECTIONS_MAX, MetricsServer
from aggregator.monitoring.service_metrics import ServiceMetrics
from aggregator.monitoring.snapshots import Snapshots
from aggregator.store import DeliveryRow, MemoryStore, RegistryRow, Store, StoredHead
from aggregator.store.rows import (
    ALERTS,
    CERTIFICATES,
    QUARANTINED,
    ROLLOUT_DEVICES,
    ROLLOUTS,
    AlertRow,
    CertificateRow,
    QuarantineRow,
    RolloutDeviceRow,
    RolloutRow,
)
from aggregator.store.sql import SqlStore
from headway.errors import ConfigError
from headway.ports import Connected, Delivered, Disconnected, NotSubscribed, Outgoing, Received, SystemClock
from headway.wire import Event, Kind, alert_topic, topic
from tests.aggregator.fleets import FLEET, Fleet

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus" / "headway-alerts.yml"
DASHBOARD = ROOT / "deploy" / "grafana" / "headway.json"
HOSTILE = 'x"} 1\nforged_metric 7 # \x1b[2J'
NOW_S = 1_800_000_000.0
PROMTOOL = shutil.which("promtool")


def samples_of(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Values by name and labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def exposed(store: Store, metrics: ServiceMetrics | None = None) -> str:
    """What a scrape gets, the snapshot being fresh."""

    class Still(SystemClock):
        def wall_s(self) -> float:
            return NOW_S

    metrics = metrics or ServiceMetrics()
    snapshots = Snapshots(lambda: (store, lambda: None), 15.0, Still())
    snapshots.look(store)
    metrics.registry.register(snapshots)
    return generate_latest(metrics.registry).decode()


def fill(store: Store) -> None:
    """A small fleet that has something of everything."""
    with store.transaction():
        store.registry.put(
            [
                RegistryRow("a", NOW_S, NOW_S, link="online", labels=120, scored=120, accuracy_gain=0.07, head="exact"),
                RegistryRow("b", NOW_S, NOW_S - 7200, link="offline", labels=200, scored=200, accuracy_gain=-0.03),
                RegistryRow("c", NOW_S, NOW_S, labels=5, scored=5, accuracy_gain=-0.5, head=HOSTILE, drift_s=NOW_S - 9),
                RegistryRow(HOSTILE, NOW_S, NOW_S, health="degraded", problem=HOSTILE, bundle=HOSTILE),
            ]
        )
        for epoch in (1, 2):
            store.rows(QUARANTINED).put(QuarantineRow("b", epoch, HOSTILE, NOW_S))
        store.put_delivery(DeliveryRow("a", "1" * 64, 3, HOSTILE, "2", 2, "", NOW_S, done=True))
        store.put_delivery(DeliveryRow("b", "1" * 64, 3, HOSTILE, "2", 2, "", NOW_S))
        store.put_delivery(DeliveryRow("c", "", 0, "", "", 0, "", NOW_S))
        for nobody in NOT_DEVICES:
            store.put_delivery(DeliveryRow(nobody, "1" * 64, 3, HOSTILE, "2", 2, "", NOW_S, done=True))
        plan = ("{}", "", 0, HOSTILE, "2", 2, "", "running", 0, "trial", HOSTILE, 0.0, 0.0, 0.0)
        store.rows(ROLLOUTS).put(RolloutRow("spring", 1, *plan))
        store.rows(ROLLOUT_DEVICES).put(RolloutDeviceRow("spring", "a", 0, "trying", "", NOW_S))
        store.put_head(StoredHead(9, "exact", "", b"", NOW_S - 60), 16)
        for serial, days in (("1", 5.0), ("2", 50.0)):
            row = CertificateRow(serial, "a", "", "", "", b"", NOW_S, NOW_S + days * 86_400, 0.0)
            store.rows(CERTIFICATES).put(row)
        begin_channels(store, ["webhook"])
        store.put_number("alert_events", 4)
        for number, by in ((1, ""), (2, "ada")):
            alert = AlertRow(
                number, "disk", "a", "critical", "open", HOSTILE, NOW_S, NOW_S, 0.0, 0.0, True, by, "", 0.0
            )
            store.rows(ALERTS).put(alert)


def test_the_fleet_is_counted(store: Store) -> None:
    fill(store)
    found = samples_of(exposed(store))

    def value(name: str, **labels: str) -> float:
        return found[name, tuple(sorted(labels.items()))]

    assert value("headway_devices") == 4
    assert [value("headway_devices_by_link", link=link) for link in ("online", "offline", "unknown")] == [1, 1, 2]
    assert value("headway_devices_by_health", health="degraded") == 1
    assert value("headway_devices_by_head", head="exact") == 1
    assert value("headway_devices_by_head", head="other") == 3
    assert value("headway_devices_silent") == 1
    assert value("headway_devices_below_frozen") == 1  # c has too few labels to say so
    assert value("headway_devices_drifted") == 1
    assert value("headway_devices_quarantined") == 1
    assert value("headway_labels_learned") == 325
    assert value("headway_accuracy_gain_ratio_bucket", le="-0.02") == 2
    assert value("headway_accuracy_gain_ratio_bucket", le="0") == 2
    assert value("headway_accuracy_gain_ratio_bucket", le="0.1") == 3
    assert value("headway_accuracy_gain_ratio_bucket", le="+Inf") == 3
    assert [value("headway_deliveries", state=state) for state in ("sent", "waiting")] == [1, 1]
    assert value("headway_rollouts", state="running") == 1
    assert value("headway_rollout_devices", state="trying") == 1
    assert value("headway_head_version") == 9
    assert value("headway_certificates_expiry_timestamp_seconds") == NOW_S + 50 * 86_400
    assert value("headway_alerts", severity="critical", state="open") == 1
    assert value("headway_alerts", severity="critical", state="acknowledged") == 1
    assert value("headway_alert_events_total") == 4
    assert value("headway_alert_events_waiting", channel="webhook") == 4
    assert (value("headway_store_size_bytes") > 0) == isinstance(store, SqlStore)


def test_no_device_can_choose_a_label_or_forge_a_line(store: Store) -> None:
    fill(store)
    text = exposed(store)
    assert "forged_metric" not in text
    assert "\x1b" not in text
    empty = {name for name, _ in samples_of(exposed(MemoryStore()))}
    full = samples_of(text)
    assert {name for name, _ in full} - empty == {
        "headway_alert_events_given_up_total", "headway_alert_events_waiting", "headway_alert_channel_failing",
        "headway_rollout_devices", "headway_certificates_expiry_timestamp_seconds",
    }  # fmt: skip
    assert {label for _, labels in full for label, _ in labels} == {
        "by", "channel", "head", "health", "kind", "le", "learning", "link", "reason", "severity", "state", "version",
    }  # fmt: skip


def test_what_devices_do_is_counted_by_the_core_under_names_of_its_own() -> None:
    fleet = Fleet()
    events = [
        Event("drift", {"by": "error"}, 1.0),
        Event("drift", {"by": HOSTILE}, 1.0),
        Event("drift", {"by": ["error"]}, 1.0),
        Event("head-changed", {"after": "exact"}, 1.0),
        Event("head-changed", {"after": "exact"}, 1.0),
        Event("labels-wanted", {"ids": [1]}, 1.0),
    ]
    fleet.send(*[Received(topic(FLEET, "d1", Kind.EVENT), event.encode()) for event in events])
    fleet.restart()
    fleet.send(*[Received(topic(FLEET, "d1", Kind.METRICS), b"{}")] * 3)
    found = samples_of(exposed(fleet.store))
    assert found["headway_drift_alarms_total", (("by", "error"),)] == 1
    assert found["headway_drift_alarms_total", (("by", "other"),)] == 2
    assert found["headway_drift_alarms_total", (("by", "distance"),)] == 0
    assert found["headway_gate_decisions_total", (("head", "exact"),)] == 2
    assert found["headway_messages_refused_total", (("reason", "malformed"),)] == 3
    # every reason is there from the beginning, and they are those of the protocol
    page = (ROOT / "docs" / "protocol.md").read_text()
    (table,) = re.findall(r"\|---\|---\|---\|\n(\| `malformed`.*?)\n\n", page, re.DOTALL)
    said = {reason for row in table.splitlines() for reason in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert {labels[0][1] for name, labels in found if name == "headway_messages_refused_total"} == said


def test_what_the_service_does_is_counted() -> None:
    metrics = ServiceMetrics()
    status = Received(topic(FLEET, "d1", Kind.STATUS), b"")
    metrics.turned([Connected(False), status, status, Received("elsewhere/x", b"")], 0.003, 2.0)
    metrics.turned([Delivered(1, "no", True), NotSubscribed("x", "no")], None, 3.0)
    ack = Outgoing(topic(FLEET, "d1", Kind.ACK), b"x" * 100)
    for message, taken in ((ack, True), (Outgoing(alert_topic(FLEET, "r", "ack"), b""), True), (ack, False)):
        metrics.sent(message, taken)
    found = samples_of(generate_latest(metrics.registry).decode())
    assert found["headway_messages_received_total", (("kind", "status"),)] == 2
    assert found["headway_messages_received_total", (("kind", "other"),)] == 1
    assert found["headway_broker_connected", ()] == 1
    assert found["headway_broker_connects_total", ()] == 1
    assert found["headway_broker_refusals_total", ()] == 2
    assert found["headway_message_queue_full_seconds_total", ()] == 3.0
    assert [found["headway_messages_sent_total", (("kind", kind),)] for kind in ("ack", "other")] == [1, 1]
    assert found["headway_sent_bytes_total", (("kind", "ack"),)] == len(ack.topic) + 100
    assert found["headway_received_bytes_total", (("kind", "status"),)] == 2 * len(status.topic)
    assert found["headway_messages_unsent_total", ()] == 1
    assert found["headway_store_transaction_seconds_count", ()] == 1
    assert found["headway_store_transaction_seconds_bucket", (("le", "0.0025"),)] == 0
    assert found["headway_store_transaction_seconds_bucket", (("le", "0.005"),)] == 1
    metrics.turned([Disconnected("gone")], None, 3.0)
    assert samples_of(generate_latest(metrics.registry).decode())["headway_broker_connected", ()] == 0
    assert found["process_resident_memory_bytes", ()] > 1e6


def names_in(expression: str) -> set[str]:
    return set(re.findall(r"\b(?:headway|process)_\w+", expression))


def known_names() -> set[str]:
    store = MemoryStore()
    fill(store)
    return {name for name, _ in samples_of(exposed(store))}


def test_every_metric_has_a_name_as_prometheus_wants_it_and_a_line_in_the_how_to() -> None:
    store = MemoryStore()
    fill(store)
    families = dict(re.findall(r"^# TYPE (headway_\w+) (\w+)$", exposed(store), re.MULTILINE))
    page = (ROOT / "docs" / "howto" / "metrics.md").read_text()
    assert {"headway_devices", "headway_message_queue_full_seconds_total"} <= set(families)
    for name, kind in families.items():
        if name.endswith(("_created", "_gcount", "_gsum")):
            continue  # parts of another one
        assert (kind == "counter") == name.endswith("_total"), name
        # base units, and nothing that is measured without its unit
        assert not re.search(
            r"_(ms|us|milliseconds|minutes|hours|days|kilobytes|mb|percent)\b|_(waits|times)(_total)?$", name
        )
        assert f"`{name}`" in page, name


def test_all_pages_speak_of_metrics_that_there_are() -> None:
    pages = {page: page.read_text() for page in (ROOT / "docs").rglob("*.md")}
    metrics = set(re.findall(r"`(headway_\w+)`", pages[ROOT / "docs" / "howto" / "metrics.md"]))
    packages = {folder.name for folder in ROOT.glob("headway_*")}
    for page, text in pages.items():
        assert set(re.findall(r"`(headway_\w+)`", text)) <= metrics | packages, page


def test_the_alert_rules_speak_of_metrics_that_there_are() -> None:
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    rules = group["rules"]
    assert len(rules) >= 12
    for rule in rules:
        names = names_in(rule["expr"])
        assert names or rule["alert"] == "HeadwayDown"
        assert names <= known_names(), rule["alert"]
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"]["summary"]


def test_the_dashboard_speaks_of_metrics_and_labels_that_there_are() -> None:
    board = json.loads(DASHBOARD.read_text())
    store = MemoryStore()
    fill(store)
    labels: dict[str, set[str]] = {}
    for name, pairs in samples_of(exposed(store)):
        labels.setdefault(name, set()).update(label for label, _ in pairs)
    charts = [panel for panel in board["panels"] if panel["type"] != "row"]
    shown = set()
    for chart in charts:
        for target in chart["targets"]:
            names = names_in(target["expr"])
            shown |= names
            assert names, chart["title"]
            assert names <= set(labels), chart["title"]
            grouped = set(re.findall(r"\bby \(([^)]*)\)", target["expr"]))
            wanted = {label.strip() for each in grouped for label in each.split(",")}
            wanted |= set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            assert wanted <= set().union(*(labels[name] for name in names)), chart["title"]
    assert {panel["id"] for panel in board["panels"]} == set(range(1, len(board["panels"]) + 1))
    for place in (chart["gridPos"] for chart in charts):
        assert place["x"] + place["w"] <= 24
    # what the fleet tells is on the board, but for what only serves rules
    assert len([name for name in labels if name.startswith("headway_")]) - len(shown) < 25


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian: prometheus)")
def test_promtool_takes_rules_their_test_and_every_metric(tmp_path: Path) -> None:
    assert PROMTOOL is not None
    for words in (["check", "rules", str(RULES)], ["test", "rules", str(RULES.with_suffix(".test.yml"))]):
        done = subprocess.run([PROMTOOL, *words], capture_output=True, text=True, cwd=RULES.parent)
        assert done.returncode == 0, done.stdout + done.stderr
    store = MemoryStore()
    fill(store)
    done = subprocess.run([PROMTOOL, "check", "metrics"], input=exposed(store), capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    panels = json.loads(DASHBOARD.read_text())["panels"]
    expressions = [target["expr"].replace("$instance", ".*") for panel in panels for target in panel.get("targets", [])]
    rules = [{"record": f"board:{number}", "expr": expression} for number, expression in enumerate(expressions)]
    checked = {"groups": [{"name": "board", "rules": rules}]}
    (tmp_path / "board.yml").write_text(yaml.safe_dump(checked))
    done = subprocess.run([PROMTOOL, "check", "rules", str(tmp_path / "board.yml")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def server() -> Iterator[MetricsServer]:
    running = MetricsServer(ServiceMetrics().registry, "127.0.0.1", 0, connection_max_s=0.5)
    running.start()
    yield running
    running.stop()


def scraped(server: MetricsServer, path: str = "/metrics") -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=5) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
        return str(answer.read().decode())


def test_only_metrics_are_served(server: MetricsServer) -> None:
    assert "headway_build_info" in scraped(server)
    for path, code in (("/", 404), ("/../etc/passwd", 404)):
        with pytest.raises(urllib.error.HTTPError) as refused:
            scraped(server, path)
        assert refused.value.code == code
    request = urllib.request.Request(f"http://127.0.0.1:{server.port}/metrics", data=b"x", method="POST")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=5)
    assert refused.value.code == 501


def test_scrapers_that_never_end_are_bounded_and_ended(server: MetricsServer) -> None:
    slow = [socket.create_connection(("127.0.0.1", server.port), timeout=5) for _ in range(CONNECTIONS_MAX)]
    dripping = threading.Event()

    def drip() -> None:
        while not dripping.wait(0.05):
            for connection in slow:
                try:
                    connection.sendall(b"G")
                except OSError:
                    return

    thread = threading.Thread(target=drip)
    thread.start()
    # one more is not taken on
    deadline = time.monotonic() + 5
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as further:
        further.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        try:
            assert further.recv(10) == b""
        except ConnectionResetError:
            further.close()
    # they are ended, and the next is served
    while True:
        try:
            scraped(server)
            break
        except OSError:
            assert time.monotonic() < deadline
    dripping.set()
    thread.join()
    for connection in slow:
        connection.close()


def test_a_port_that_is_taken_is_one_line(server: MetricsServer) -> None:
    with pytest.raises(ConfigError, match=r"cannot listen on 127\.0\.0\.1:\d+ of \[metrics\]: Address already in use"):
        MetricsServer(ServiceMetrics().registry, "127.0.0.1", server.port)
    with pytest.raises(ConfigError, match="cannot listen on nowhere"):
        MetricsServer(ServiceMetrics().registry, "nowhere.invalid", 1)


def test_a_scrape_asks_nothing_of_the_store(tmp_path: Path) -> None:
    store = SqlStore(f"sqlite:///{tmp_path / 'store.sqlite'}")
    fill(store)
    metrics = ServiceMetrics()
    text = exposed(store, metrics)
    store.close()
    assert samples_of(generate_latest(metrics.registry).decode())["headway_devices", ()] == 4
    assert "headway_snapshot_timestamp_seconds" in text


def test_the_page_names_every_metric() -> None:
    page = (ROOT / "docs" / "howto" / "metrics.md").read_text()
    rows = re.findall(r"^\| (`headway_.*?) \| (.*?) \|", page, re.MULTILINE)
    said = {}
    for names, labels in rows:
        said |= {name: set(re.findall(r"`(\w+)`", labels)) for name in re.findall(r"`(\w+)`", names)}
    store = MemoryStore()
    fill(store)
    found: dict[str, set[str]] = {}
    for name, labels in samples_of(exposed(store)):
        if name.startswith("headway_"):
            family = re.sub(r"_(bucket|count|sum|gcount|gsum)$", "", name)
            found.setdefault(family, set()).update(label for label, _ in labels)
    assert said == found
