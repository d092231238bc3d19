"""What earlier versions left on a disk is opened by this one, with every label, and goes on from there.

The goldens are made by tests/golden/state/make.py, once per version. Tables are compared to the bit: they are integers.
Probabilities come out of a BLAS, whose order of additions depends on the processor, and of a runtime, which may be
another one (tests/onnx_reference.py): they are compared at 5e-6. The test report says (``same_bits``) whether they were
equal to the bit as well.
"""

from __future__ import annotations

import json
import signal
import tomllib
from collections.abc import Callable, Iterator
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_agent.learner import said
from headway.stopping import STOP_SIGNALS
from tests import onnx_reference
from tests.golden.state.reading import (
    STATE,
    Ack,
    DeviceWire,
    Kind,
    Received,
    Statistics,
    StatisticsReport,
    Update,
    describe_agent,
    describe_server,
    digest,
    learn_more,
    opened_agent,
    opened_server,
    own_tables,
    parse_topic,
    read_config,
    read_settings,
    run_agent,
    tables_digest,
    topic,
    unpacked,
)

VERSIONS = ("v0.1", "v0.2")
# servers of commits between two versions: sums kept in another format, schema 5
COMMITS = ("v0.2-942afe44", "v0.2-4163723c")
AGENTS = [(version, name) for version in VERSIONS for name in ("agent-exact", "agent-forked", "agent-gradient")]
SERVERS = [(version, name) for version in (*VERSIONS, *COMMITS) for name in ("server-exact", "server-average")]
ATOL = 5e-6


@pytest.fixture(autouse=True)
def _handlers_come_back() -> Iterator[None]:
    """A running agent takes the signals of its process."""
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(autouse=True)
def _the_bundle_runs_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    onnx_reference.use_where_no_runtime_is(monkeypatch)


def expected(version: str, name: str) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((STATE / version / "expected.json").read_text())[name]
    return values


def rows(version: str) -> tuple[np.ndarray, np.ndarray]:
    """64 windows float32 (64, 8) and their classes int64 (64,)."""
    with np.load(STATE / version / "windows.npz") as arrays:
        return arrays["x"], arrays["y"]


def told(wire: DeviceWire) -> StatisticsReport:
    """The last tables that a device told."""
    return StatisticsReport.decode(wire.of(Kind.STATISTICS)[-1])


def by_class(tables: Statistics) -> dict[str, list[int]]:
    """The tables in a form that no order of classes, nor a class without samples, makes a difference to."""
    sums = {name: tables.class_sums[:, column].tolist() for column, name in enumerate(tables.classes)}
    return {"": tables.gram.ravel().tolist()} | {name: column for name, column in sums.items() if any(column)}


@pytest.mark.parametrize(("version", "name"), AGENTS)
def test_a_saved_agent_opens_with_all_that_it_knew_and_serves_the_same_head(
    version: str, name: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    want, folder = expected(version, name), unpacked(STATE / version / f"{name}.zip", tmp_path)
    found = describe_agent(folder, rows(version)[0])
    want.pop("next_update", None)
    del found["probabilities_sha256"]
    served, wanted = np.array(found.pop("probabilities")), np.array(want.pop("probabilities"))
    digest_wanted = want.pop("probabilities_sha256")
    assert found == want
    # that version served what the head says by itself; since then it is calibrated, and no answer is another one
    with opened_agent(folder) as opened:
        learner, features = opened.agent.learner, opened.pipeline.features(rows(version)[0])
        by_itself = said(learner._heads()[learner.serving], features, learner.names)
    record_property("same_bits", digest(by_itself.astype("<f4").tobytes()) == digest_wanted)
    np.testing.assert_allclose(by_itself, wanted, rtol=0, atol=ATOL)
    assert (served.argmax(axis=1) == wanted.argmax(axis=1)).all()


@pytest.mark.parametrize(("version", "name"), AGENTS)
def test_a_saved_agent_goes_on_and_keeps_what_it_has_acknowledged(version: str, name: str, tmp_path: Path) -> None:
    want, folder = expected(version, name), unpacked(STATE / version / f"{name}.zip", tmp_path)
    x, y = rows(version)
    claimed = [len(np.load(path)["y"]) for path in folder.glob("spool/claimed/*.npz")]
    learn_more(folder, x, y)
    after = describe_agent(folder, x)
    assert after["labels"] == want["labels"] + want["waiting_labels"] + sum(claimed) + 6
    assert after["waiting_labels"] == 0
    assert after["files_consumed"] == want["files_consumed"] + len(claimed) + 1
    assert not list(folder.glob("spool/**/*.npz")), "every file was taken in"
    assert [name for name, *_ in after["windows"][-6:]] == [f"more-{row}" for row in range(6)]
    assert after["outbox_rows"] == 0
    assert (after["sync"]["epoch"], after["fleet_head_version"]) == (want["sync"]["epoch"], want["fleet_head_version"])
    assert after["classes"] == want["classes"]
    again = describe_agent(folder, x)
    # a look counts as a start
    assert again["sync"].pop("boot") == after["sync"].pop("boot") + 1
    again.pop("journal_entries"), after.pop("journal_entries")
    assert again == after


@pytest.mark.parametrize("version", VERSIONS)
def test_the_exact_tables_are_the_old_ones_and_the_new_labels_to_the_bit(version: str, tmp_path: Path) -> None:
    want, folder = expected(version, "agent-exact"), unpacked(STATE / version / "agent-exact.zip", tmp_path)
    x, y = rows(version)
    (path,) = folder.glob("spool/claimed/*.npz")
    with np.load(path) as claimed, opened_agent(folder) as opened:
        before = own_tables(opened)
        names = opened.agent.learner.classes
        new_x, new_y = np.vstack([claimed["x"], x[:6]]), [*map(names.index, claimed["y"].tolist()), *y[:6].tolist()]
        codes = opened.pipeline.features(new_x).codes
    assert tables_digest(before) == want["statistics_sha256"]
    wire = learn_more(folder, x, y)
    with opened_agent(folder) as opened:
        after = own_tables(opened)
    assert after == before + Statistics.of(codes, np.array(new_y), before.classes, before.space)
    assert told(wire).statistics == after, "and that is what the fleet hears"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_fork_still_tells_only_what_its_own_epoch_learned(version: str, tmp_path: Path) -> None:
    want, folder = expected(version, "agent-forked"), unpacked(STATE / version / "agent-forked.zip", tmp_path)
    report, older = told(learn_more(folder, *rows(version))), want["labels_of_older_epochs"]
    assert older > 0
    assert report.statistics.samples == want["labels"] + want["waiting_labels"] + 6 - older
    assert report.epoch == want["sync"]["epoch"]
    with opened_agent(folder) as opened:
        assert opened.variant.release == 2, "the delivered bundle runs on"


@pytest.mark.parametrize("version", VERSIONS)
def test_saved_updates_leave_first_and_what_rounding_took_from_them_is_in_the_next(
    version: str, tmp_path: Path
) -> None:
    want, folder = expected(version, "agent-gradient"), unpacked(STATE / version / "agent-gradient.zip", tmp_path)
    updates = [Update.decode(payload) for payload in learn_more(folder, *rows(version)).of(Kind.UPDATE)]
    waited, first = want["outbox_rows"], want["sequence"] - want["outbox_rows"] + 1
    assert [update.sequence for update in updates] == [*range(first, first + len(updates))]
    assert len(updates) > waited > 0
    # values up to 5 in int8 steps of about 0.04: another BLAS changes their seventh digit; without the residual some
    # would be off by a whole step
    np.testing.assert_allclose(updates[waited].delta, want["next_update"], rtol=0, atol=1e-4)


@pytest.mark.parametrize(("version", "name"), SERVERS)
def test_a_saved_aggregator_opens_with_all_that_it_knew(
    version: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    want, folder = expected(version, name), unpacked(STATE / version / f"{name}.zip", tmp_path)
    want.pop("gone_epoch", None)
    monkeypatch.chdir(folder)
    assert describe_server(folder) == want


@pytest.mark.parametrize("version", VERSIONS)
def test_a_saved_exact_fleet_goes_on_with_its_devices(
    version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The saved wrist goes on, too, and tells the saved aggregator."""
    want, folder = expected(version, "server-exact"), unpacked(STATE / version / "server-exact.zip", tmp_path / "s")
    wrist = unpacked(STATE / version / "agent-exact.zip", tmp_path / "a")
    payload = learn_more(wrist, *rows(version)).of(Kind.STATISTICS)[-1]
    report = StatisticsReport.decode(payload)
    monkeypatch.chdir(folder)
    with opened_server(folder) as server:
        fleet, before = server.settings.fleet, server.core.statistics
        assert tables_digest(before) == want["statistics_sha256"]
        with server.store.transaction():
            stored = server.store.statistics("wrist", report.epoch)
        assert stored is not None
        old = StatisticsReport.decode_stored(stored.payload).statistics
        gone = StatisticsReport("gone", want["gone_epoch"], 1000, report.statistics)
        messages = [
            Received(topic(fleet, device, Kind.STATISTICS), told)
            for device, told in (("wrist", payload), ("wrist", payload), ("gone", gone.encode()))
        ]
        sent = server.tell(*messages)
        acks = {parse_topic(m.topic).device: Ack.decode(m.payload) for m in sent if m.topic.endswith(f"/{Kind.ACK}")}
        assert (acks["wrist"].epoch, acks["wrist"].counter) == (report.epoch, report.counter)
        assert acks["gone"].removed, "what was removed stays out"
        after = by_class(before - old + report.statistics)
        assert by_class(server.core.statistics) == after
    with opened_server(folder) as server:
        assert by_class(server.core.statistics) == after
    known = describe_server(folder)
    assert known["head_version"] > want["head_version"]
    assert known["parts"] == want["parts"]
    assert known["deliveries"] == want["deliveries"]
    counters = {device: counter for device, _, counter, *_ in known["devices"]}
    assert counters["wrist"] == report.counter
    others = [row[:5] for row in want["devices"] if row[0] != "wrist"]
    assert [row[:5] for row in known["devices"] if row[0] not in ("wrist", "gone")] == others


def send_what_hand_kept(version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The saved agent that averages sends what was in its outbox to the saved fleet; what that knows afterwards."""
    folder = unpacked(STATE / version / "server-average.zip", tmp_path / "s")
    hand = unpacked(STATE / version / "agent-gradient.zip", tmp_path / "a")
    payloads = run_agent(hand).of(Kind.UPDATE)
    monkeypatch.chdir(folder)
    with opened_server(folder) as server:
        place = topic(server.settings.fleet, "hand", Kind.UPDATE)
        sent = server.tell(*(Received(place, payload) for payload in payloads))
        (ack,) = [Ack.decode(message.payload) for message in sent if message.topic.endswith(f"/{Kind.ACK}")]
        assert ack.sequence == expected(version, "agent-gradient")["sequence"]
    return describe_server(folder)


def test_a_saved_averaging_fleet_makes_its_next_head_of_the_updates_that_waited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In v0.1 updates of another device wait; with those of this one they make a round."""
    want = expected("v0.1", "server-average")
    assert want["updates_waiting"]
    known = send_what_hand_kept("v0.1", tmp_path, monkeypatch)
    assert known["head_version"] == want["head_version"] + 1
    assert known["updates_waiting"] == []


def test_an_update_of_a_saved_agent_waits_for_that_of_another_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In v0.2 none waits, since a round has one contribution of each device; this one begins the next."""
    want = expected("v0.2", "server-average")
    assert want["updates_waiting"] == []
    known = send_what_hand_kept("v0.2", tmp_path, monkeypatch)
    assert known["head_version"] == want["head_version"]
    assert {device for device, _ in known["updates_waiting"]} == {"hand"}


# where a table of a configuration file is found in what is read; a key has its own place where it differs
AGENT_PLACES = {
    "device.id": "device",
    "device.fleet": "fleet",
    "bundle.path": "bundle",
    "bundle.public_key": "public_key",
    "bundle.prefer": "prefer",
    "storage.state_dir": "state_dir",
    # renamed since
    "learner.train": "learner.schedule",
    "learner.source_worth": "learner.training_worth",
    "policy.train": "policy.trigger",
}
AGGREGATOR_PLACES = {
    "fleet.name": "fleet",
    "bundle.path": "bundle",
    "storage.state_dir": "state_dir",
    "storage.database_url": "database_url",
    "publish.method": "policy.method",
    "publish.interval_s": "policy.publish_interval_s",
    "publish.shrinkage": "policy.shrinkage",
    "publish.prior_devices_min": "policy.prior_devices_min",
    "publish.prior_labels_min": "policy.prior_labels_min",
    "publish.prior_device_labels_min": "policy.prior_device_labels_min",
    "weighing": "policy.weighing",
    "sync.pace_s": "policy.pace_s",
    "averaging": "policy.averaging",
    "delivery": "policy.delivery",
    "limits": "policy.limits",
}


def settings(name: str) -> list[tuple[str, str, str, object]]:
    """Every (version, table, key, value) of one program's configuration files."""
    found = []
    for version in VERSIONS:
        tables = tomllib.loads((STATE / version / name).read_text())
        found += [(version, table, key, value) for table, keys in tables.items() for key, value in keys.items()]
    return found


def found_in(config: object, places: dict[str, str], table: str, key: str) -> object:
    """The value in what was read, as TOML would write it."""
    value = attrgetter(places.get(f"{table}.{key}", f"{places.get(table, table)}.{key}"))(config)
    return str(value) if isinstance(value, Path) else list(value) if isinstance(value, tuple) else value


def test_every_key_of_an_older_agents_configuration_arrives() -> None:
    configs = {version: read_config(STATE / version / "agent.toml") for version in VERSIONS}
    wanted = settings("agent.toml")
    found = [found_in(configs[version], AGENT_PLACES, table, key) for version, table, key, _ in wanted]
    assert len(found) > 100
    assert [(each, value) for each, value in zip(wanted, found, strict=True) if each[3] != value] == []


def test_every_key_of_an_older_aggregators_configuration_arrives() -> None:
    configs = {version: read_settings(STATE / version / "aggregator.toml") for version in VERSIONS}
    wanted = settings("aggregator.toml")
    found = [found_in(configs[version], AGGREGATOR_PLACES, table, key) for version, table, key, _ in wanted]
    assert len(found) > 50
    assert [(each, value) for each, value in zip(wanted, found, strict=True) if each[3] != value] == []
