"""Every message between this release and release 0.2, both ways: read to the same words, or refused in one line.

A new kind, or a new form of one, has a golden, and the golden has its line here: what that release says of it, and what
makes this harmless.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from headway.wire import Kind, topic
from headway.wire.summary import AskedWindow, Summary
from tests.headway.test_earlier_readers import said_by_release_0_2
from tests.headway.test_messages import DECODE, GOLDEN, JSON

PROTOCOL = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text()
# in that release, the class that reads a kind
CLASSES_0_2 = {
    "status": "Status", "reported": "Reported", "metrics": "Metrics", "statistics": "StatisticsReport",
    "statistics-part": "ReportPart", "statistics-change": "StatisticsChange", "update": "Update", "event": "Event",
    "desired": "Desired", "ack": "Ack", "request": "RangeRequest", "file": "FileRange", "prior-request": "PriorRequest",
    "prior": "FleetPrior", "head": "PublishedHead",
}  # fmt: skip
# it is not subscribed to these topics, and has none of its own by their names
UNKNOWN = frozenset({
    Kind.TRIAL, Kind.HEAD_TRIAL, Kind.HEALTH, Kind.CONFIGURATION_STATE, Kind.COMMAND_RESULTS, Kind.LABELS_WANTED,
    Kind.CONFIGURATION, Kind.COMMANDS, Kind.ANSWERS, Kind.SUMMARY, Kind.LABELS, Kind.CANDIDATE,
})  # fmt: skip
# forms of kinds that it knows, which it refuses, and what then happens
REFUSED = {
    # why a report was refused is said in an ack of its own; what is stored stands in the ordinary one
    "ack-refused": "unknown key 'problem' in ack",
    # orders with a mode are for devices that can try a bundle
    "desired-trial": "unknown key 'mode' in desired",
    # a device whose packed report was refused sends the older packing, of which it knows that every server reads it
    "statistics-factored": "packed tables of version 2",
    "statistics-rows": "packed tables of version 3",
    "statistics-stepped": "packed tables of version 4",
    "statistics-fields": "packed tables of version 5",
    "statistics-row-fields": "packed tables of version 6",
}
# kinds whose payload is that of another
AS = {Kind.HEAD_TRIAL: Kind.TRIAL, Kind.CANDIDATE: Kind.HEAD}
# what programs around a device read, and nothing of ours
SUMMARY = Summary("walk", 0.875, (), 0.931, 48, "exact", False, AskedWindow("w-17", 1750000000.0, "idle", 0.52), "w-12")
READ_ALL = """
import json
from headway import wire
from headway.errors import RemoteError
classes, kinds = map(json.loads, sys.argv[2:4])
for name in sys.argv[4:]:
    path = Path(name)
    known = [key for key in classes if path.stem == key or path.stem.startswith(key + "-")]
    read = getattr(wire, classes[max(known, key=len)]).decode
    try: message = read(path.read_bytes(), 2) if "metrics" in known else read(path.read_bytes())
    except RemoteError as error: print(json.dumps([path.name, "", str(error)]))
    else: print(json.dumps([path.name, message.encode().hex(), ""]))
for kind in kinds:
    try: wire.parse_topic(f"headway/v1/f/d/{kind}")
    except RemoteError as error: print(json.dumps([kind, "", str(error)]))
    else: print(json.dumps([kind, "00", ""]))
"""


def kind_of(golden: str) -> Kind:
    """What stands first in its name."""
    stem = golden.partition(".")[0]
    return max((kind for kind in Kind if stem == kind or stem.startswith(f"{kind}-")), key=len)


@pytest.fixture(scope="module")
def said() -> dict[str, tuple[bytes, str]]:
    """By golden and by kind: what release 0.2 writes of what it has read, or why it refused."""
    known = [GOLDEN / name for name in sorted(DECODE) if kind_of(name) not in UNKNOWN]
    lines = said_by_release_0_2(READ_ALL, json.dumps(CLASSES_0_2), json.dumps([*Kind]), *known)
    return {name: (bytes.fromhex(written), why) for name, written, why in map(json.loads, lines)}


def test_the_protocol_lists_every_kind_and_each_has_a_golden() -> None:
    table = PROTOCOL.split("| topic | written by |")[1].split("\n\n")[0]
    listed = set(re.findall(r"^\| `[^`/]*/([a-z-]+)(?:/[^`]*)?` \|", table, re.MULTILINE))
    assert listed - {"alert"} == set(map(str, Kind))
    goldens = {kind_of(path.name) for path in GOLDEN.iterdir()}
    assert {AS.get(kind, kind) for kind in Kind} == goldens


def test_each_kind_is_known_to_release_0_2_or_refused_by_its_topic(said: dict[str, tuple[bytes, str]]) -> None:
    for kind in Kind:
        _, why = said[str(kind)]
        expected = f"topic {topic('f', 'd', kind)!r} ends in an unknown kind" if kind in UNKNOWN else ""
        assert why == expected, kind


def test_release_0_2_reads_what_this_one_writes_or_refuses_it_in_one_line(said: dict[str, tuple[bytes, str]]) -> None:
    for name in DECODE:
        if kind_of(name) in UNKNOWN:
            continue
        written, why = said[name]
        stem = name.partition(".")[0]
        assert why.startswith(REFUSED.get(stem, "")), name
        assert bool(why) == (stem in REFUSED), (name, why)
        assert "\n" not in why, name
        if name in JSON and not why:
            assert written == (GOLDEN / name).read_bytes(), name
    assert {f"{stem}.json" for stem in REFUSED} | {f"{stem}.safetensors" for stem in REFUSED} >= {
        name for name, (_, why) in said.items() if why and name in DECODE
    }


def test_this_release_reads_what_release_0_2_writes_to_the_same_words(said: dict[str, tuple[bytes, str]]) -> None:
    read = [name for name, (written, _) in said.items() if written and name in DECODE]
    assert {kind_of(name) for name in read} == set(Kind) - UNKNOWN
    for name in read:
        ours, theirs = DECODE[name]((GOLDEN / name).read_bytes()), DECODE[name](said[name][0])
        assert theirs.encode() == ours.encode(), name


def test_what_nothing_of_ours_reads_is_written_as_it_was() -> None:
    assert SUMMARY.encode() == (GOLDEN / "summary.json").read_bytes()
