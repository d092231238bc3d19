"""Reports that are read many at a time are what each would be by itself, and are refused in the same words."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from headway.arrays import Int64
from headway.errors import RemoteError
from headway.maths import Statistics
from headway.wire import History, StatisticsReport
from headway.wire.plain_reports import _all_found, read_accepted, read_reports

CLASSES = ("calm", "läuft 'ruhig'", "[a],\\,b")
PLAIN = ("a", "b,] c", "d")
CODES = 12
RANDOM = np.random.default_rng(7)


def report(counter: int = 1, labels: int = 30, classes: tuple[str, ...] = PLAIN, epoch: int = 5) -> StatisticsReport:
    codes = RANDOM.integers(-127, 128, (labels, CODES)).astype(np.int8)
    tables = Statistics.of(codes, RANDOM.integers(0, len(classes), labels), classes, "f" * 64)
    runs = tuple(range(1, counter))
    return StatisticsReport("pump-07", epoch, counter, tables, History(9, runs, runs))


def changed_tables(change: Callable[[Int64, Int64], None]) -> bytes:
    whole = report(labels=40)
    gram, sums = whole.statistics.gram.copy(), whole.statistics.class_sums.copy()
    change(gram, sums)
    return StatisticsReport("pump-07", 5, 1, Statistics(gram, sums, PLAIN, "f" * 64)).encode(packed=False)


def put(place: tuple[int, int], value: int) -> Callable[[Int64, Int64], None]:
    def change(gram: Int64, sums: Int64) -> None:
        gram[place] = gram[place[::-1]] = value

    return change


def put_sum(place: tuple[int, int], value: int) -> Callable[[Int64, Int64], None]:
    def change(gram: Int64, sums: Int64) -> None:
        sums[place] = value

    return change


def text(old: str, new: str) -> bytes:
    """A report whose header says something else. Quotes of the metadata, a text in JSON, are written as '."""
    payload = report().encode()
    end = 8 + int.from_bytes(payload[:8], "little")
    before, after = (said.replace("'", '\\"').replace("`", '"').encode() for said in (old, new))
    assert before in payload[8:end]
    header = payload[8:end].replace(before, after)
    return len(header).to_bytes(8, "little") + header + payload[end:]


GOOD = {
    "few": report(labels=3).encode(),
    "many": report(labels=9000).encode(),
    "wider than four bytes": report(labels=40).encode(packed=False),
    "none": StatisticsReport("pump-07", 5, 1, Statistics.zeros(CODES, PLAIN, "f" * 64)).encode(),
    "runs": report(counter=9).encode(),
    "names that JSON escapes": report(classes=CLASSES).encode(),
    "a large epoch": report(epoch=2**53).encode(),
    "a later release's field": text("'kind':'statistics'", "'kind':'statistics','optional':{'colour':'red'}"),
    "spaces": text("'epoch':5", "'epoch': 5"),
    "as it rests": report().encode(packed=False),
    "no constant scatter": StatisticsReport(
        "pump-07", 5, 1, Statistics.of(np.zeros((4, CODES), np.int8), np.zeros(4, np.int64), PLAIN, "f" * 64)
    ).encode(),
}
BAD = {
    "a negative diagonal": changed_tables(put((2, 2), -5)),
    "out of reach": changed_tables(put((2, 3), 1 << 40)),
    "the least number": changed_tables(put((2, 3), -(2**63))),
    "no samples": changed_tables(put((CODES, CODES), 0)),
    "too many samples": changed_tables(put((CODES, CODES), 1 << 62)),
    "no scatter": changed_tables(put((2, 3), 40 * 127 * 127)),
    "counts": changed_tables(put_sum((CODES, 1), 1 << 62)),
    "negative counts": changed_tables(put_sum((CODES, 1), -3)),
    "sums": changed_tables(put_sum((4, 1), 1 << 30)),
    "sums that do not add up": changed_tables(put_sum((4, 1), 1)),
    "an unknown kind": text("'statistics'", "'statistisch'"),
    "another schema": text("'schema':1", "'schema':2"),
    "an unknown key": text("'schema':1", "'schema':1,'shape':1"),
    "a leading zero": text("'epoch':5", "'epoch':05"),
    "a number too large": text("'epoch':5", "'epoch':9007199254740993"),
    "a fraction": text("'epoch':5", "'epoch':5.0"),
    "a size too large": text("'size':12", "'size':99"),
    "a key twice": text("'epoch':5", "'epoch':5,'epoch':5"),
    "an end too many": text("'ends':[]", "'ends':[7]"),
    "ends that are no numbers": text("'ends':[],", "'ends':[07,],"),
    "a class twice": text("'d']", "'a']"),
    "a class that is a number": text("'d']", "7]"),
    "quotes that are not escaped": text("['a','b,] c','d']", "[`a`,`b`,`d`]"),
    "a tab between classes": text("'b,] c','d'", "'b,] c',\t'd'"),
    "no class": text("['a','b,] c','d']", "[]"),
    "a class that acts on a terminal": text("'d'", "'\\\\u0007'"),
    "text that is no UTF-8": report().encode().replace(b"b,] c", b"b,\xff c"),
    "a damaged header": text("`gram`:{", "`gram`:["),
    "spans that overlap": text("`data_offsets`:[0,", "`data_offsets`:[1,"),
    "a damaged table": report().encode()[:-1] + b"\0",
    "cut": report().encode()[:-9],
    "longer": report().encode() + b"\0",
    "short": b"\1\0",
    "nothing": b"",
    "a very long header": (1 << 60).to_bytes(8, "little") + b"{}",
}


def alone(payload: bytes, size_max: int) -> StatisticsReport | str:
    try:
        return StatisticsReport.decode(payload, size_max)
    except RemoteError as error:
        return str(error)


def stored(payload: bytes) -> StatisticsReport | None:
    try:
        return StatisticsReport.decode_stored(payload, accepted=True)
    except RemoteError:
        return None


@pytest.mark.parametrize("size_max", [CODES, 5])
def test_many_reports_are_what_each_is_by_itself_whatever_stands_beside_it(size_max: int) -> None:
    every = [*GOOD.values(), *BAD.values()]
    together = [str(one) if isinstance(one, RemoteError) else one for one in read_reports(every, size_max)]
    assert together == [alone(payload, size_max) for payload in every]
    assert read_accepted(every) == [stored(payload) for payload in every]


def test_good_ones_are_taken_and_bad_ones_refused() -> None:
    assert not any(isinstance(one, RemoteError) for one in read_reports([*GOOD.values()], CODES))
    taken = dict(zip(BAD, read_reports([*BAD.values()], CODES), strict=True))
    assert [name for name, one in taken.items() if not isinstance(one, RemoteError)] == []


def test_the_quick_way_is_the_usual_one() -> None:
    usual = [name for name in GOOD if name not in ("names that JSON escapes", "a later release's field", "spaces")]
    assert [one.place for one in _all_found([GOOD[name] for name in usual], CODES, 1 << 17)] == [*range(len(usual))]
