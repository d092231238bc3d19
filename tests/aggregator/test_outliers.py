"""A device whose statistics contradict those of all others is set aside, told in words, and comes back; honest ones
that differ are left alone."""

from __future__ import annotations

import json
import weakref
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

from aggregator.cli import main
from aggregator.heads.compared_fleet import HeldTables
from aggregator.heads.comparing import Measure
from aggregator.heads.outliers import Outliers, _chance, _honest
from aggregator.heads.portraits import Finding, joined_portrait
from aggregator.heads.rest import Rest
from aggregator.policy import OutlierPolicy, Policy
from aggregator.store.location import sqlite_url
from aggregator.store.rows import QUARANTINED, VOUCHED
from aggregator.store.sql import SqlStore
from headway.arrays import Int8, Int64
from headway.maths import Statistics, blend, merge
from tests.aggregator.fleets import CLASSES, SIZE, SPACE, Fleet, heads, model, statistics_message
from tests.aggregator.fleets import warnings as warned

CENTRES = np.random.default_rng(1).normal(0.0, 45.0, (3, SIZE))
OFTEN = Policy(publish_interval_s=0.0, outliers=OutlierPolicy(interval_s=0.0))


def windows(count: int, seed: int, moved: float = 0.0) -> tuple[Int8, Int64]:
    """Of three classes that a head can tell apart, as one device has them. moved: how far its sensor is off."""
    random = np.random.default_rng(seed)
    labels = np.arange(count, dtype=np.int64) % 3
    offset = moved * random.normal(0.0, 1.0, SIZE)
    codes = CENTRES[labels] + offset + random.normal(0.0, 25.0, (count, SIZE))
    return np.clip(np.rint(codes), -127, 127).astype(np.int8), labels


def told(count: int, seed: int, rotated: bool = False, moved: float = 0.0) -> Statistics:
    codes, labels = windows(count, seed, moved)
    return Statistics.of(codes, (labels + rotated) % 3, CLASSES, SPACE)


def trained() -> Fleet:
    """A fleet whose bundle was trained on the same classes."""
    return Fleet(OFTEN, build_model=lambda: replace(model(), training_statistics=told(90, 99)))


def with_liar(fleet: Fleet, honest: int = 6, counter: int = 1) -> None:
    for number in range(honest):
        fleet.send(statistics_message(f"d{number}", 1, counter, told(60, number)))
    fleet.send(statistics_message("liar", 3, counter, told(60, 50, rotated=True)))


def aside(fleet: Fleet) -> dict[str, str]:
    with fleet.store.transaction():
        return {row.device: row.problem for row in fleet.store.rows(QUARANTINED).all()}


def test_a_device_with_rotated_labels_is_set_aside_before_it_ever_counts() -> None:
    fleet = trained()
    with_liar(fleet)
    (head,) = heads(fleet.pass_time(5.0))
    assert head.samples == 6 * 60
    assert fleet.core.statistics == merge([told(60, number) for number in range(6)])
    problem = aside(fleet)["liar"]
    assert (
        "it contradicts the others: the others' head would give about 2 of its 60 labels, usual here are 90%" in problem
    )
    assert "what it calls 'idle' lies where they have" in problem
    alert, note = [text for text in warned(fleet.effects) if "liar" in text]
    assert "warning quarantined: liar" in alert
    assert "edge-fleet readmit liar" in note
    with fleet.store.transaction():
        assert [(event.device, event.name) for event in fleet.store.events()] == [("liar", "quarantined")]


def test_a_third_of_the_fleet_that_conspires_is_set_aside() -> None:
    fleet = trained()
    with_liar(fleet)
    fleet.send(statistics_message("second", 1, 1, told(60, 51, rotated=True)))
    fleet.pass_time(5.0)
    assert sorted(aside(fleet)) == ["liar", "second"]


def test_it_stays_aside_over_a_restart_and_comes_back_with_true_labels() -> None:
    fleet = trained()
    with_liar(fleet)
    fleet.pass_time(5.0)
    fleet.restart()
    for _ in range(3):
        fleet.pass_time(5.0)
    assert fleet.core.statistics.samples == 6 * 60
    fleet.send(statistics_message("liar", 3, 2, told(66, 52, rotated=True)))
    fleet.pass_time(5.0)
    assert "liar" in aside(fleet), "another report does not bring it back"
    fleet.send(statistics_message("liar", 3, 3, told(66, 52)))
    for _ in range(2):
        fleet.pass_time(5.0)
    assert aside(fleet) == {}
    assert fleet.core.statistics.samples == 6 * 60 + 66
    fleet.restart()
    assert fleet.core.statistics.samples == 6 * 60 + 66


def test_devices_that_differ_honestly_are_left_alone() -> None:
    for seed in range(5):
        fleet = trained()
        for number in range(8):
            # each sensor is off by something, one by much, and two know one class or two
            part = told(60, 100 * seed + number, moved=10.0 if number else 30.0)
            if number in (3, 4):
                codes, labels = windows(60, 100 * seed + number, moved=10.0)
                some = labels < number - 2
                part = Statistics.of(codes[some], labels[some], CLASSES, SPACE)
            fleet.send(statistics_message(f"d{number}", 1, 1, part))
        fleet.pass_time(5.0)
        assert aside(fleet) == {}


def test_in_a_fleet_that_is_divided_nobody_is_named() -> None:
    fleet = trained()
    for number in range(8):
        fleet.send(statistics_message(f"d{number}", 1, 1, told(60, number, rotated=number % 2 > 0)))
    fleet.pass_time(5.0)
    assert aside(fleet) == {}


@pytest.mark.parametrize("policy", [OutlierPolicy(devices_min=0), OutlierPolicy(devices_min=8)])
def test_nobody_is_compared_where_it_is_off_or_the_fleet_is_too_small(policy: OutlierPolicy) -> None:
    fleet = trained()
    fleet.policy = replace(OFTEN, outliers=policy)
    fleet.restart()
    with_liar(fleet)
    fleet.pass_time(5.0)
    assert aside(fleet) == {}


def test_comparisons_are_so_far_apart_and_the_next_one_comes_without_another_report() -> None:
    fleet = trained()
    fleet.policy = replace(OFTEN, outliers=OutlierPolicy(interval_s=30.0))
    fleet.restart()
    for number in range(6):
        fleet.send(statistics_message(f"d{number}", 1, 1, told(60, number)))
    fleet.pass_time(5.0)
    with_liar(fleet, honest=0)
    fleet.pass_time(5.0)
    assert aside(fleet) == {}
    assert heads(fleet.pass_time(30.0))[-1].samples == 6 * 60
    assert sorted(aside(fleet)) == ["liar"]


def test_an_operator_reads_why_and_has_it_counted_for_good(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fleet = trained()
    fleet.store = SqlStore(sqlite_url(tmp_path))
    fleet.restart()
    with_liar(fleet)
    fleet.pass_time(5.0)
    place = ["--state-dir", str(tmp_path)]
    assert main(["devices", *place]) == 0
    assert (
        "liar: what it reported is set aside and does not count: it contradicts the others" in capsys.readouterr().err
    )
    assert main(["readmit", "liar", *place]) == 0
    assert heads(fleet.pass_time(5.0))[-1].samples == 7 * 60
    fleet.send(statistics_message("liar", 3, 2, told(63, 53, rotated=True)))
    assert heads(fleet.pass_time(5.0))[-1].samples == 6 * 60 + 63, "an operator vouched for it"
    assert main(["quarantine", "liar", *place]) == 0
    assert heads(fleet.pass_time(5.0))[-1].samples == 6 * 60
    with fleet.store.transaction():
        assert fleet.store.rows(VOUCHED).all() == []
    capsys.readouterr()
    assert main(["audit", "--json", *place]) == 0
    acts = [row["act"] for row in json.loads(capsys.readouterr().out)]
    assert acts == ["readmit", "quarantine"]


def test_one_that_is_removed_is_forgotten_and_may_begin_anew() -> None:
    fleet = trained()
    with_liar(fleet)
    fleet.pass_time(5.0)
    with fleet.store.transaction():
        fleet.store.request_removal("liar", 0.0)
    fleet.pass_time(5.0)
    assert aside(fleet) == {}
    fleet.send(statistics_message("liar", 4, 1, told(60, 54)))
    assert heads(fleet.pass_time(5.0))[-1].samples == 7 * 60


def test_of_more_devices_than_are_compared_those_that_reported_last_are() -> None:
    fleet = trained()
    fleet.policy = replace(OFTEN, outliers=OutlierPolicy(interval_s=0.0, devices_max=6))
    fleet.restart()
    with_liar(fleet, honest=12)
    fleet.pass_time(5.0)
    assert sorted(aside(fleet)) == ["liar"]


def test_a_portrait_of_several_epochs_is_that_of_their_sum() -> None:
    outliers = Outliers(told(90, 99), 0.02)
    first, second = told(60, 1), told(30, 2)
    found, expected = (
        joined_portrait([outliers.portrait(part) for part in (first, second)]),
        outliers.portrait(first + second),
    )
    assert found.counts.tolist() == expected.counts.tolist()
    assert found.means == pytest.approx(expected.means, abs=1e-3)
    assert found.spread == pytest.approx(expected.spread, abs=0.2)


def test_portraits_that_are_made_together_are_those_of_each() -> None:
    outliers, every = Outliers(told(90, 99), 0.02), [told(20 + 7 * number, number) for number in range(5)]
    for some in (every, every, [*every, every[0].with_classes((*every[0].classes, "another"))]):
        for found, tables in zip(outliers.portraits(some), some, strict=True):
            expected = outliers.portrait(tables)
            assert found.counts.tolist() == expected.counts.tolist()
            assert found.means.tolist() == expected.means.tolist()
            assert found.spread == pytest.approx(expected.spread, rel=1e-9)


def test_what_is_said_of_a_device_is_what_its_windows_say() -> None:
    """Beside windows one by one. The error follows from sums exactly, the agreement nearly."""
    tables = {f"d{number}": told(600, number) for number in range(5)}
    codes, labels = windows(600, 7)
    wrong = np.random.default_rng(3).random(600) < 0.3
    labels = np.where(wrong, (labels + 1) % 3, labels)
    tables["d5"] = Statistics.of(codes, labels, CLASSES, SPACE)
    found = judged(tables)
    rest = blend([(1.0, told(90, 99)), *((1.0, part) for name, part in tables.items() if name != "d5")])
    measure = Measure.of(rest, [0, 1, 2], 0.02)
    centred = measure.means - measure.means.mean(axis=1, keepdims=True)
    slopes = np.linalg.solve(np.linalg.inv(measure.inverse) + centred @ centred.T / 3, centred / 3)
    answers = 1 / 3 + (codes - measure.means.mean(axis=1)) @ slopes
    error = ((np.eye(3)[labels] - answers) ** 2).sum(axis=1).mean()
    assert found["d5"].skill == pytest.approx(1 - error / (2 / 3), abs=0.01)
    assert 0.4 < found["d5"].agreement < 0.75
    assert found["d0"].agreement == pytest.approx(0.89, abs=0.02)
    assert found["d5"].spread > 1.7 > found["d0"].spread


def test_a_flood_of_one_class_is_named_though_its_mean_lies_nowhere_in_particular() -> None:
    tables = {f"d{number}": told(60, number) for number in range(7)}
    codes, labels = windows(60, 7)
    tables["flood"] = Statistics.of(codes, np.zeros_like(labels), CLASSES, SPACE)
    assert {name for name, one in judged(tables).items() if one.named} == {"flood"}


def test_chance_is_the_binomials_own_for_few_labels_among_many_devices_and_bounded_otherwise() -> None:
    shares, labels = np.array([0.25, 0.8, 0.5]), np.array([8.0, 8.0, 1000.0])
    many, few = _chance(shares, labels, 0.7, 50), _chance(shares, labels, 0.7, 49)
    assert many[0] == pytest.approx(0.01129, abs=1e-5)
    assert few[0] == pytest.approx(np.exp(-8 * (0.25 * np.log(0.25 / 0.7) + 0.75 * np.log(0.75 / 0.3))))
    assert 0.5 < many[1] < few[1] == 1.0
    assert 0.0 < many[2] == few[2] < 1e-30


def test_what_is_asked_of_honest_devices_follows_from_many_of_them() -> None:
    few, many = np.linspace(0.5, 1.0, 49), np.linspace(0.8, 1.0, 100)
    assert _honest(few) == pytest.approx(0.75 * 0.75), "of few devices no tenth is known"
    assert _honest(many) == pytest.approx(0.9 * 0.9), "at most nine tenths of the usual"
    assert _honest(np.linspace(0.7, 1.0, 100)) == pytest.approx(0.7 + 9 * 0.3 / 99)


def test_tables_of_many_devices_are_never_in_memory_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aggregator.heads.compared_fleet.BYTES_MAX", 0)
    parts = {f"d{number}": told(60, number, rotated=number % 3 == 0) for number in range(30)}
    held: list[weakref.ref[Int64]] = []
    most = 0

    def read(name: str) -> Statistics:
        nonlocal most
        tables = replace(parts[name], gram=parts[name].gram.copy())
        held.append(weakref.ref(tables.gram))
        most = max(most, sum(ref() is not None for ref in held))
        return tables

    outliers = Outliers(told(90, 99), 0.02)
    portraits = {name: outliers.portrait(part) for name, part in parts.items()}
    found = outliers.judge(portraits, dict.fromkeys(parts, 1.0), merge(list(parts.values())), read)
    assert sum(one.named for one in found.values()) == 10
    assert len(held) > 30
    assert most <= 2, "the last one, and the next"


@pytest.mark.parametrize("largest", [2**29, 2**30 - 1, 2**31 - 1, 2**33])
def test_tables_that_are_held_come_back_as_they_were(largest: int) -> None:
    """Of a device that claims so many samples that one value may be larger than all of the diagonal: the proof that a
    scatter is real allows for rounding."""
    tables = Statistics.zeros(300, CLASSES, SPACE)
    tables.gram[range(300), range(300)] = largest
    tables.gram[[0, 1, 2, 3], [1, 0, 3, 2]] = largest + 1, largest + 1, -largest - 1, -largest - 1
    tables.gram[-1, -1] = tables.class_sums[-1, 0] = largest // 100**2
    assert tables.inconsistency() is None
    held = HeldTables()
    held.put(0, tables, 1, often=True)
    assert held.get(0) == tables
    held.drop(0, 10**6)
    assert held.get(0) is None


def test_who_is_named_is_so_with_a_fraction_of_the_tables_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aggregator.heads.compared_fleet.BYTES_MAX", 0)
    # of half the sensors each is far off, so that their tables are asked for; six of sixty lie
    tables = {
        f"d{number:02}": told(40, number, rotated=number % 10 == 0, moved=40.0 * (number % 2)) for number in range(60)
    }
    few, sparing = verdicts(tables)
    look = Rest.look
    monkeypatch.setattr(Rest, "look", lambda rest, wanted: look(rest, np.ones_like(wanted)))
    every, thorough = verdicts(tables)
    assert few == every
    assert sum(named for named, _ in few.values()) >= 6
    assert sparing < 0.5 * thorough, (sparing, thorough)


def verdicts(tables: dict[str, Statistics]) -> tuple[dict[str, tuple[bool, bool]], int]:
    """Who is named and who comes back, and how often tables were read for that."""
    outliers, stored = Outliers(told(90, 99), 0.02), Mock(side_effect=tables.__getitem__)
    portraits = {name: outliers.portrait(part) for name, part in tables.items()}
    found = outliers.judge(portraits, dict.fromkeys(tables, 1.0), merge(tables.values()), stored)
    return {name: (one.named, one.back) for name, one in found.items()}, stored.call_count


def test_comparisons_that_are_much_work_follow_each_other_more_slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    # as if a number read took so long that the tables of a device are a second's work, done without a pause
    monkeypatch.setattr("aggregator.heads.compared_fleet.READ_NUMBER_S", 1.0 / (SIZE + 1) ** 2)
    fleet = trained()
    fleet.policy = replace(OFTEN, outliers=OutlierPolicy(interval_s=0.0, step_s=3600.0))
    fleet.restart()
    with_liar(fleet)
    fleet.pass_time(5.0)
    assert sorted(aside(fleet)) == ["liar"]
    fleet.send(statistics_message("second", 1, 1, told(60, 51, rotated=True)))
    fleet.pass_time(5.0)
    assert sorted(aside(fleet)) == ["liar"], "it was compared a moment ago, and that took seconds"
    fleet.pass_time(100.0)
    assert sorted(aside(fleet)) == ["liar", "second"]


def judged(tables: dict[str, Statistics]) -> dict[str, Finding]:
    outliers = Outliers(told(90, 99), 0.02)
    portraits = {name: outliers.portrait(part) for name, part in tables.items()}
    return outliers.judge(portraits, dict.fromkeys(tables, 1.0), merge(tables.values()), tables.__getitem__)
