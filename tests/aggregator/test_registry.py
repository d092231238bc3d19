"""What the registry keeps of devices: states since when, accuracy, days; pages of it; what people put on devices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from aggregator.registry import Request, device_view, groups_of, list_page, put_list_group, set_note, set_tags
from aggregator.registry.derived import typed_row
from aggregator.registry.head_figures import SPANS_MAX
from aggregator.store import DeviceRow, MemoryStore, RegistryQuery, RegistryRow, Store, StoredHead
from aggregator.store.rows import DAYS, HEAD_FIELD, HEAD_SPANS, QUARANTINED, HeadFieldRow, QuarantineRow
from headway.errors import ConfigError
from headway.maths import ClassificationSums
from headway.ports import Received
from headway.wire import Event, Kind, Metrics, Reported, Status, topic
from tests.aggregator.fleets import FLEET, SPACE, Fleet

DAY_S = 86_400.0
REPORTED = Reported("watch", "1.2", SPACE, "exact", "litert", "0.1.0", "x86_64", 8, "lda", release=3)


def scored(right: int, wrong: int) -> ClassificationSums:
    confusion = np.zeros((3, 3), np.int64)
    confusion[0, 0], confusion[0, 1] = right, wrong
    return ClassificationSums(confusion)


def metrics(epoch: int, counter: int, served: tuple[int, int], frozen: tuple[int, int]) -> Received:
    return message(Kind.METRICS, Metrics(epoch, counter, scored(*served), scored(*frozen)).encode())


def message(kind: Kind, payload: bytes, device: str = "a") -> Received:
    return Received(topic(FLEET, device, kind), payload)


def row_of(fleet: Fleet, device: str = "a") -> RegistryRow:
    with fleet.store.transaction():
        row = fleet.store.registry.get(device)
    assert row is not None
    return row


def test_the_three_states_are_separate_and_tell_since_when() -> None:
    fleet = Fleet()
    fleet.send(message(Kind.STATUS, Status(True, 1).encode()), message(Kind.REPORTED, REPORTED.encode()))
    began_s = fleet.instant.wall_s
    fleet.pass_time(60.0)
    problem = replace(REPORTED, problem="camera-lost since 2026-01-01: nothing came")
    fleet.send(message(Kind.STATUS, Status(True, 1).encode()), message(Kind.REPORTED, problem.encode()))
    row = row_of(fleet)
    assert (row.link, row.link_since_s) == ("online", began_s)
    assert (row.health, row.health_since_s, row.problem) == ("problem", began_s + 60.0, problem.problem)
    assert (row.learning, row.learning_since_s) == ("unknown", None)
    fleet.pass_time(60.0)
    full = replace(problem, problem="disk degraded since 2026-01-01: no space left")
    fleet.send(message(Kind.STATUS, Status(False, 1).encode()), message(Kind.REPORTED, full.encode()))
    row = row_of(fleet)
    assert (row.link, row.health, row.link_since_s, row.health_since_s) == (
        "offline",
        "degraded",
        *[began_s + 120.0] * 2,
    )
    assert (row.first_seen_s, row.last_seen_s) == (began_s, began_s + 120.0)
    assert (row.bundle, row.bundle_and_version, row.release, row.head) == ("watch", "watch 1.2", 3, "lda")


def test_accuracy_gain_drift_and_refusals_are_columns() -> None:
    fleet = Fleet()
    fleet.send(message(Kind.REPORTED, REPORTED.encode()), metrics(7, 1, (6, 4), (8, 2)))
    fleet.send(
        message(Kind.EVENT, Event("drift", {}).encode()), message(Kind.EVENT, Event("head-changed", {}).encode())
    )
    fleet.send(*[message(Kind.METRICS, b"?")] * 3, message(Kind.METRICS, b"?", device="stranger"))
    row = row_of(fleet)
    assert (row.labels, row.scored) == (8, 10)
    assert (row.served_accuracy, row.frozen_accuracy) == (0.6, 0.8)
    assert row.accuracy_gain == pytest.approx(-0.2)
    assert (row.drift_alarms, row.drift_s) == (1, fleet.instant.wall_s)
    assert (row.refused, row.refused_reason) == (3, "malformed")
    with fleet.store.transaction():
        assert fleet.store.registry.get("stranger") is None


def test_recent_accuracy_leans_on_the_newest_labels() -> None:
    fleet = Fleet()
    fleet.send(metrics(7, 1, (100, 0), (0, 100)))
    fleet.send(metrics(7, 2, (100, 200), (200, 100)))
    row = row_of(fleet)
    assert row.served_accuracy == pytest.approx(1 / 3)
    assert row.recent_served_accuracy == pytest.approx(100 / 16 / (100 / 16 + 200))
    assert row.recent_frozen_accuracy == pytest.approx(1.0 - row.recent_served_accuracy)
    assert row.recent_accuracy_gain == pytest.approx(row.recent_served_accuracy - row.recent_frozen_accuracy)


def days(fleet: Fleet) -> list[tuple[int, int, int]]:
    """Labels and those right of each day that is over, and of the present one."""
    row = row_of(fleet)
    with fleet.store.transaction():
        over = [(day.labels, day.served_right, day.frozen_right) for day in fleet.store.rows(DAYS).all("a")]
    return [*over, (row.day_labels, row.day_served_right, row.day_frozen_right)]


def test_every_label_counts_on_one_day_also_when_an_epoch_comes_back() -> None:
    fleet = Fleet()
    fleet.send(metrics(7, 1, (6, 4), (8, 2)), metrics(7, 1, (6, 4), (8, 2)))
    fleet.pass_time(DAY_S)
    fleet.send(metrics(7, 2, (7, 4), (8, 3)))
    fleet.send(metrics(9, 1, (2, 1), (1, 2)))
    fleet.pass_time(DAY_S)
    fleet.send(metrics(7, 3, (9, 4), (8, 5)), metrics(9, 2, (3, 1), (1, 3)), metrics(7, 4, (9, 5), (9, 5)))
    fleet.restart()
    assert days(fleet) == [(10, 6, 8), (1 + 3, 1 + 2, 0 + 1), (2 + 1 + 1, 2 + 1 + 0, 0 + 0 + 1)]


def test_labels_count_for_the_newest_head_of_the_fleet_and_for_the_head_that_serves_on_the_device() -> None:
    fleet = Fleet()
    fleet.send(message(Kind.REPORTED, replace(REPORTED, source="frozen").encode()))
    fleet.send(metrics(1, 1, (8, 2), (8, 2)))
    with fleet.store.transaction():
        assert fleet.store.rows(HEAD_FIELD).all() == [], "no head is published yet"
        fleet.store.put_head(StoredHead(4, "exact", SPACE, b"4", 0.0), 16)
    fleet.send(message(Kind.REPORTED, replace(REPORTED, source="exact").encode()))
    fleet.send(metrics(1, 2, (17, 3), (14, 6)))
    with fleet.store.transaction():
        fleet.store.put_head(StoredHead(5, "exact", SPACE, b"5", 0.0), 16)
    fleet.send(metrics(1, 3, (26, 4), (20, 10)))
    with fleet.store.transaction():
        field = fleet.store.rows(HEAD_FIELD).all()
        spans = fleet.store.rows(HEAD_SPANS).all("a")
    assert field == [HeadFieldRow(SPACE, 4, 10, 9, 6), HeadFieldRow(SPACE, 5, 10, 9, 6)]
    assert [(span.number, span.head, span.labels, span.served_right, span.frozen_right) for span in spans] == [
        (1, "frozen", 10, 8, 8), (2, "exact", 20, 18, 12)
    ]  # fmt: skip


def test_a_device_whose_head_changes_without_end_keeps_its_newest_spans() -> None:
    fleet = Fleet()
    for turn in range(1, SPANS_MAX + 6):
        fleet.send(message(Kind.REPORTED, replace(REPORTED, source=f"head-{turn}").encode()))
        fleet.send(metrics(1, turn, (turn, 0), (turn, 0)))
    with fleet.store.transaction():
        spans = fleet.store.rows(HEAD_SPANS).all("a")
    assert [span.head for span in spans] == [f"head-{turn}" for turn in range(6, SPANS_MAX + 6)]


def test_days_are_kept_400_times_and_bytes_become_a_mean() -> None:
    fleet = Fleet()
    payload = Status(True, 1).encode()
    for _ in range(406):
        fleet.send(message(Kind.STATUS, payload))
        fleet.pass_time(DAY_S)
    fleet.send(message(Kind.STATUS, payload))
    with fleet.store.transaction():
        kept = fleet.store.rows(DAYS).all("a")
    each = len(payload) + len(topic(FLEET, "a", Kind.STATUS))
    assert len(kept) == 399
    assert {day.bytes for day in kept} == {each}
    assert row_of(fleet).bytes_per_day == pytest.approx(each)
    fleet.pass_time(7 * DAY_S)
    fleet.send(message(Kind.STATUS, payload))
    assert row_of(fleet).bytes_per_day == pytest.approx(each * (6 / 7) ** 6), "six days were silent"


def test_a_removed_device_leaves_nothing() -> None:
    fleet = Fleet()
    fleet.send(metrics(7, 1, (6, 4), (8, 2)))
    with fleet.store.transaction():
        set_tags(fleet.store, ["a"], {"site": "north"}, [])
        put_list_group(fleet.store, "pilots", ["a"], [], 0.0)
        fleet.store.remove_device("a")
        assert fleet.store.registry.get("a") is None
        assert fleet.store.registry.count(None, 0.0) == 0
        assert list_page(fleet.store, Request('group == "pilots" or tag.site'), 0.0).devices == []


def test_devices_of_an_earlier_releases_store_get_their_rows() -> None:
    fleet = Fleet()
    fleet.send(message(Kind.STATUS, Status(True, 1).encode()), message(Kind.REPORTED, REPORTED.encode()))
    fleet.send(metrics(7, 1, (6, 4), (8, 2)))
    before = row_of(fleet)
    with fleet.store.transaction():
        (row,) = fleet.store.devices()
        fleet.store.remove_device("a")
        fleet.store.put_device(row)
    fleet.restart()
    after = row_of(fleet)
    assert after == typed_row(row)
    same = ("link", "health", "bundle", "labels", "scored", "served_accuracy", "accuracy_gain", "served_right")
    assert [getattr(after, name) for name in same] == [getattr(before, name) for name in same]
    assert (after.day_labels, after.recent_weight) == (0, 0.0), "nobody knows on which day that was"
    fleet.send(metrics(7, 2, (7, 4), (8, 3)))
    assert row_of(fleet).day_labels == 1


def test_a_stored_message_that_cannot_be_read_keeps_no_service_from_its_start() -> None:
    fleet = Fleet()
    with fleet.store.transaction():
        fleet.store.put_device(DeviceRow("a", 0.0, 1.0, reported=b"{", metrics=b"?"))
    fleet.restart()
    assert row_of(fleet).problem.startswith("what is stored of it cannot be read: reported is not valid JSON")
    fleet.send(message(Kind.REPORTED, REPORTED.encode()))
    assert (row_of(fleet).problem, row_of(fleet).bundle) == ("", "watch")


def test_rows_are_replaced_and_a_failed_transaction_leaves_none(store: Store) -> None:
    with store.transaction():
        store.registry.put([RegistryRow("a", 1.0, 2.0), RegistryRow("b", 1.0, 2.0)])
        store.registry.put([RegistryRow("a", 1.0, 3.0, disk_free_bytes=2**52, temperature_c=-1.5, drift_alarms=2**52)])

    def fail_before_the_commit() -> None:
        with store.transaction():
            store.registry.put([RegistryRow("a", 9.0, 9.0), RegistryRow("c", 9.0, 9.0)])
            raise RuntimeError("no power")

    with pytest.raises(RuntimeError):
        fail_before_the_commit()
    with store.transaction():
        kept = RegistryRow("a", 1.0, 3.0, disk_free_bytes=2**52, temperature_c=-1.5, drift_alarms=2**52)
        assert store.registry.find(RegistryQuery(), 0.0) == [kept, RegistryRow("b", 1.0, 2.0)]


@pytest.mark.parametrize(
    "sort", ["", "-device", "labels", "-labels", "accuracy_gain", "-accuracy_gain", "silent_for", "head"]
)
@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_pages_hold_each_device_once_in_order(store: Store, sort: str, size: int) -> None:
    gains = [0.25, None, -0.5, 0.25, None, 0.0, 0.25]
    heads = ["ä", "Z", "a", "", "a", "Z", "_"]
    rows = [
        RegistryRow(f"d{index}", 0.0, 100.0 + index // 2, labels=index % 3, accuracy_gain=gain, head=head)
        for index, (gain, head) in enumerate(zip(gains, heads, strict=True))
    ]
    seen: list[RegistryRow] = []
    with store.transaction():
        for row in rows:
            store.put_device(store_row(row))
        store.registry.put(rows)
        after = ""
        for _ in range(len(rows) + 1):
            page = list_page(store, Request("labels >= 0", sort, after, size), 200.0)
            seen += [view.row for view in page.devices]
            after = page.next
            if not after:
                break
    assert len(seen) == len(rows)
    assert [row.device for row in seen] == expected(rows, sort)


def store_row(row: RegistryRow) -> DeviceRow:
    return DeviceRow(row.device, row.first_seen_s, row.last_seen_s)


def expected(rows: list[RegistryRow], sort: str) -> list[str]:
    name, reverse = sort.removeprefix("-"), sort.startswith("-")
    if name in ("", "device"):
        return sorted((row.device for row in rows), reverse=reverse)
    value = {"silent_for": lambda row: -row.last_seen_s}.get(name, lambda row: getattr(row, name))
    known = [row for row in rows if value(row) is not None]
    unknown = [row for row in rows if value(row) is None]
    return [row.device for row in [*sorted(known, key=value, reverse=reverse), *unknown]]


@pytest.mark.parametrize("cursor", ["x", "!!", "W10", "WyIiLDEsImEiXQ", "a" * 5000, "WyIiLG51bGwsbnVsbF0"])
def test_a_cursor_that_is_none_is_refused(cursor: str) -> None:
    store = MemoryStore()
    with store.transaction(), pytest.raises(ConfigError, match="cursor"):
        list_page(store, Request(after=cursor, sort="labels"), 0.0)


def test_a_field_that_is_none_sorts_nothing() -> None:
    store = MemoryStore()
    with store.transaction(), pytest.raises(ConfigError, match="cannot be sorted by 'label'; did you mean 'labels'"):
        list_page(store, Request(sort="-label"), 0.0)


def test_tags_notes_and_groups_are_shown_with_the_device(store: Store) -> None:
    with store.transaction():
        for name in "ab":
            store.put_device(store_row(RegistryRow(name, 0.0, 1.0)))
        set_tags(store, ["a", "b"], {"site": "north", "canary": ""}, [])
        set_tags(store, ["a"], {"site": "south"}, ["canary", "never-set"])
        set_note(store, "a", "cracked screen")
        set_note(store, "b", "x")
        set_note(store, "b", "")
        store.rows(QUARANTINED).put(QuarantineRow("a", 1, "no head with it", 0.0))
        put_list_group(store, "pilots", ["a"], [], 0.0)
        a, b = list_page(store, Request(), 2.0).devices
        assert (a.tags, a.note, a.quarantined) == ({"site": "south"}, "cracked screen", "no head with it")
        assert (b.tags, b.note, b.quarantined) == ({"site": "north", "canary": ""}, "", "")
        assert device_view(store, "a") == a
        assert groups_of(store, "a", 2.0) == ["pilots"]
        with pytest.raises(ConfigError, match="no device 'c'"):
            device_view(store, "c")
        with pytest.raises(ConfigError, match=r"tag 'a\.b' is not a valid name"):
            set_tags(store, ["a"], {"a.b": ""}, [])
        with pytest.raises(ConfigError, match="characters that do not print"):
            set_note(store, "a", "\x1b[2J")
        with pytest.raises(ConfigError, match="more than 64 tags"):
            set_tags(store, ["a"], {f"t{n}": "" for n in range(70)}, [])
