"""``edge-fleet devices, device, tag, note, groups`` as a person meets them; hostile names in every field."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import pytest

from aggregator.cli import main
from aggregator.registry.derived import typed_row
from aggregator.store import DeviceRow, RegistryRow
from aggregator.store.location import sqlite_url
from aggregator.store.rows import ATTRIBUTE, DAYS, GROUPS, NOTE, PROPERTIES, TAG, DayRow, GroupRow, PropertyRow
from aggregator.store.sql import SqlStore
from headway.printable import is_printable
from headway.wire import Reported

HOSTILE = "\x1b[2J\x1b]0;owned\x07\r\n\u202e\u2028x"


@pytest.fixture
def place(tmp_path: Path) -> list[str]:
    """Three devices."""
    store = SqlStore(sqlite_url(tmp_path))
    with store.transaction():
        for name, labels in (("wrist-1", 12), ("wrist-2", 60), ("pump-1", 0)):
            reported = Reported("watch", "1.2", "s", "exact", "litert", "0.1.0", "x86_64", labels, "lda").encode()
            row = DeviceRow(name, 0.0, 1000.0, True, 1, reported=reported)
            store.put_device(row)
            store.registry.put([typed_row(row)])
    store.close()
    return ["--state-dir", str(tmp_path)]


def names(captured: str) -> list[str]:
    return [row["device"] for row in json.loads(captured)]


def test_devices_are_filtered_sorted_and_paged(place: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["devices", "--filter", 'bundle == "watch 1.2" and labels > 10', *place]) == 0
    out = capsys.readouterr().out
    assert [line.split()[0] for line in out.splitlines()] == ["DEVICE", "wrist-1", "wrist-2"]
    assert main(["devices", "--sort", "-labels", "--limit", "2", "--json", *place]) == 0
    first = capsys.readouterr()
    assert names(first.out) == ["wrist-2", "wrist-1"]
    cursor = first.err.strip().removeprefix("there are more: --after ")
    assert main(["devices", "--sort", "-labels", "--limit", "2", "--after", cursor, "--json", *place]) == 0
    last = capsys.readouterr()
    assert (names(last.out), last.err) == (["pump-1"], "")
    assert main(["devices", "--filter", "labels > 100", *place]) == 0
    assert capsys.readouterr().out == "no device is like that\n"


def test_tags_notes_and_groups_from_the_command_line(place: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tag", "wrist-1", "wrist-2", "--set", "site=north", "--set", "canary", *place]) == 0
    assert main(["tag", "--filter", "labels > 50", "--unset", "canary", *place]) == 0
    assert main(["note", "pump-1", "leaks", *place]) == 0
    assert main(["groups", "save", "north", 'tag.site == "north"', *place]) == 0
    assert main(["groups", "list", "pilots", "--add", "pump-1", "--add", "wrist-1", *place]) == 0
    assert main(["groups", "list", "pilots", "--remove", "wrist-1", *place]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "tagged 2 devices",
        "tagged 1 device",
        "noted on pump-1",
        "saved group north; 2 devices like that now",
        "group pilots lists 2 devices",
        "group pilots lists 1 device",
    ]
    assert main(["groups", *place]) == 0
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["GROUP", "KIND", "DEVICES", "FILTER"],
        ["north", "filter", "2", "tag.site", "==", '"north"'],
        ["pilots", "list", "1", "-"],
    ]
    assert main(["devices", "--filter", 'group in ("north", "pilots") and not tag.canary', "--json", *place]) == 0
    assert names(capsys.readouterr().out) == ["pump-1", "wrist-2"]
    assert main(["device", "pump-1", "--json", *place]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["groups"], shown["note"], shown["tags"], shown["served_accuracy"]) == (["pilots"], "leaks", {}, None)
    assert main(["groups", "delete", "north", *place]) == 0
    assert main(["groups", "--json", *place]) == 0
    assert '"group": "pilots"' in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["devices", "--filter", "labls > 3"], "filter, at character 1, 'labls > 3': there is no field labls"),
        (["devices", "--sort", "nothing"], "devices cannot be sorted by 'nothing'"),
        (["devices", "--after", "x"], "the cursor 'x' is none of this list"),
        (["devices", "--limit", "0"], "invalid value for '--limit'"),
        (["device", "pump-9"], "no device 'pump-9' in this fleet"),
        (["device", "a/b"], "device 'a/b' is not a valid name"),
        (["tag", "pump-9", "--set", "a=b"], "no device 'pump-9' in this fleet"),
        (["tag", "pump-1"], "give --set NAME=VALUE or --unset NAME"),
        (["tag", "--set", "a=b"], "give either names of devices or --filter"),
        (["tag", "pump-1", "--set", "=b"], "--set '=b' names no tag"),
        (["note", "pump-9", "x"], "no device 'pump-9' in this fleet"),
        (["groups", "save", "a/b", "labels > 3"], "group 'a/b' is not a valid name"),
        (["groups", "save", "a", "labls"], "there is no field labls"),
        (["groups", "save", "a", 'group == "a"'], "group 'a' means itself, by way of a"),
        (["groups", "list", "a", "--add", "pump-9"], "no device 'pump-9' in this fleet"),
        (["groups", "delete", "a"], "there is no group 'a'"),
    ],
)
def test_mistakes_are_one_line(
    place: list[str], arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, *place]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert main(["groups", "--json", *place]) == 0
    assert capsys.readouterr().out.strip() == "[]", "nothing was kept of it"


def test_a_group_that_another_speaks_of_stays(place: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["groups", "list", "pilots", "--add", "pump-1", *place]) == 0
    assert main(["groups", "save", "losing", 'group == "pilots" and accuracy_gain < 0', *place]) == 0
    capsys.readouterr()
    assert main(["groups", "delete", "pilots", *place]) == 2
    assert "group 'losing' speaks of 'pilots'" in capsys.readouterr().err
    assert main(["groups", "save", "pilots", "labels > 3", *place]) == 2
    assert "group 'pilots' is a list; delete it first" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["devices"], ["devices", "--json"], ["device", "d"], ["device", "d", "--json"],
                                       ["groups"], ["groups", "--json"]], ids=" ".join)  # fmt: skip
def test_hostile_names_in_every_field_only_print(
    tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever got into the store, by whatever way, a terminal only shows it, and JSON is valid."""
    store = SqlStore(sqlite_url(tmp_path))
    texts = {field.name: HOSTILE for field in fields(RegistryRow) if field.type == "str"}
    numbers = {
        field.name: 1.0 if field.name.endswith("_s") else float("inf")
        for field in fields(RegistryRow)
        if field.type == "float | None"
    }
    row = RegistryRow(**(texts | numbers | {"device": "d", "first_seen_s": 0.0, "last_seen_s": 1.0, "refused": 1}))  # type: ignore[arg-type]
    with store.transaction():
        store.put_device(DeviceRow("d", 0.0, 1.0))
        store.registry.put([row])
        for family in (TAG, ATTRIBUTE, NOTE):
            store.rows(PROPERTIES).put(PropertyRow("d", family, HOSTILE, HOSTILE))
        store.rows(DAYS).put(DayRow("d", 1, 1, 1, 1, 1))
        store.rows(GROUPS).put(GroupRow("g", "", 0.0))
    store.close()
    assert main([*arguments, "--state-dir", str(tmp_path)]) == 0
    captured = capsys.readouterr()
    assert all(is_printable(line) for line in (captured.out + captured.err).split("\n"))
    if "--json" in arguments:
        json.loads(captured.out, parse_constant=pytest.fail)
