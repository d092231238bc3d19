"""Reads many whole reports of narrow tables together: what a call of Python or NumPy takes is shared by all of them.

What a report says, and whether it is refused, is what `StatisticsReport.decode` finds of it: whatever is not exactly as
`StatisticsReport.encode` writes it, or may not be what samples make, is read there. Here only the usual case is quick:
one pattern takes a header apart, and the tables of reports of one shape are put together, widened and checked as one
array.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np

from headway.arrays import AnyArray, Int64
from headway.errors import RemoteError
from headway.fields import Fields, parse_json
from headway.maths import Statistics, symmetric_places
from headway.maths.many_statistics import doubtful
from headway.wire.codec import CODES_MAX, MESSAGE_BYTES_MAX, REPORT_BYTES_MAX, RUNS_MAX, read_classes
from headway.wire.statistics_report import NO_HISTORY, History, StatisticsReport

# numbers of Gram matrices that are worked on together: they stay in the processor's cache
NUMBERS_TOGETHER = 1 << 17
NUMBER_MAX = 2**53
HEADER_BYTES_MAX = 1 << 14

_NUMBER = rb"(0|[1-9][0-9]{0,15})"
_ONE = rb"(?:0|[1-9][0-9]{0,15})"
_NUMBERS = rb"\[((?:" + _ONE + rb"(?:," + _ONE + rb")*)?)\]"
# printable ASCII without quote and backslash
_NAME = rb'\\"([ !#-\[\]-~]{0,%d})\\"'
_HEADER = re.compile(
    rb'\{"__metadata__":\{"headway":"\{\\"classes\\":(\[.*?\]),\\"counter\\":' + _NUMBER
    + rb',\\"device\\":' + _NAME % 256
    + rb',\\"earlier\\":' + _NUMBERS + rb',\\"ends\\":' + _NUMBERS
    + rb',\\"epoch\\":' + _NUMBER
    + rb',\\"kind\\":\\"statistics\\",\\"life\\":' + _NUMBER
    + rb',\\"schema\\":1,\\"size\\":' + _NUMBER
    + rb',\\"space\\":' + _NAME % 64
    + rb'\}"\},"class_sums":\{"dtype":"U8","shape":\[' + _NUMBER + rb'\],"data_offsets":\[0,' + _NUMBER
    + rb'\]\},"gram":\{"dtype":"U8","shape":\[' + _NUMBER + rb'\],"data_offsets":\[' + _NUMBER + rb"," + _NUMBER
    + rb"\]\}\} *"
)  # fmt: skip

# of a text in a text of JSON: no escape but that of its quotes, and nothing that JSON refuses in a text
_PLAIN = re.compile(rb'(?:[^"\\\0-\x1f]|\\")*')

# a table's width in bytes, and its planes one after the other
_Planes = tuple[int, bytes]


class _Found:
    """What the header of one report says, its planes inflated."""

    __slots__ = ("class_sums", "classes", "gram", "numbers", "place", "size", "texts")

    def __init__(self, place: int, payload: bytes, size_max: int, bytes_max: int) -> None:
        """Raises ValueError for a report that is to be read by itself."""
        end = 8 + int.from_bytes(payload[:8], "little")
        found = _HEADER.fullmatch(payload, 8, end) if end <= min(HEADER_BYTES_MAX, len(payload)) else None
        if found is None or len(payload) > bytes_max:
            raise ValueError
        classes, counter, device, earlier, ends, epoch, run, size, space, *spans = found.groups()
        sums_shape, sums_end, gram_shape, gram_start, gram_end = map(int, spans)
        self.place, self.size, self.classes = place, int(size), _classes(classes)
        runs = _numbers(earlier), _numbers(ends)
        self.numbers = int(epoch), int(counter), int(run), *runs
        self.texts = device.decode(), space.decode()
        whole = sums_shape == sums_end == gram_start and gram_shape == gram_end - gram_start
        if not whole or len(payload) != end + gram_end or len(runs[0]) != len(runs[1]) or len(runs[0]) > RUNS_MAX:
            raise ValueError
        if not 1 <= self.size <= size_max or max(*self.numbers[:3], *runs[0], *runs[1], 0) > NUMBER_MAX:
            raise ValueError
        full, view = self.size + 1, memoryview(payload)
        self.class_sums = _inflated(view[end : end + sums_end], full * len(self.classes))
        self.gram = _inflated(view[end + gram_start :], full * (full + 1) // 2)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """What reports have in common that are worked on together."""
        return self.size, len(self.classes), self.gram[0], self.class_sums[0]

    def report(self, gram: Int64, class_sums: Int64) -> StatisticsReport:
        """gram: int64 (d + 1, d + 1); class_sums: int64 (d + 1, C)."""
        (epoch, counter, run, earlier, ends), (device, space) = self.numbers, self.texts
        history = History(run, earlier, ends) if run or earlier else NO_HISTORY
        return StatisticsReport(device, epoch, counter, Statistics(gram, class_sums, self.classes, space), history)


def read_reports(payloads: Sequence[bytes], size_max: int) -> list[StatisticsReport | RemoteError]:
    """`StatisticsReport.decode` of each, or what it raises."""

    def alone(payload: bytes) -> StatisticsReport | RemoteError:
        try:
            return StatisticsReport.decode(payload, size_max)
        except RemoteError as error:
            return error

    found = _all_found(payloads, size_max, MESSAGE_BYTES_MAX)
    reports = _together(found, accepted=False)
    return [reports[place] if place in reports else alone(payload) for place, payload in enumerate(payloads)]


def read_accepted(payloads: Sequence[bytes]) -> list[StatisticsReport | None]:
    """`StatisticsReport.decode_stored` of reports whose tables were accepted before; None for one that it refuses."""

    def alone(payload: bytes) -> StatisticsReport | None:
        try:
            return StatisticsReport.decode_stored(payload, accepted=True)
        except RemoteError:
            return None

    reports = _together(_all_found(payloads, CODES_MAX, REPORT_BYTES_MAX), accepted=True)
    return [reports[place] if place in reports else alone(payload) for place, payload in enumerate(payloads)]


def _all_found(payloads: Iterable[bytes], size_max: int, bytes_max: int) -> Iterable[_Found]:
    for place, payload in enumerate(payloads):
        try:
            yield _Found(place, payload, size_max, bytes_max)
        except (ValueError, zlib.error):
            continue  # read alone, which says what is wrong with it, if anything is


def _together(found: Iterable[_Found], accepted: bool) -> dict[int, StatisticsReport]:
    """Reports by place, of those whose tables are beyond doubt."""
    alike: dict[tuple[int, int, int, int], list[_Found]] = {}
    for one in found:
        alike.setdefault(one.shape, []).append(one)
    reports: dict[int, StatisticsReport] = {}
    for (size, classes, *_), every in alike.items():
        full = size + 1
        count = max(NUMBERS_TOGETHER // full**2, 1)
        for start in range(0, len(every), count):
            some = every[start : start + count]
            upper = _widened([one.gram for one in some], full * (full + 1) // 2)
            grams = np.take(upper, symmetric_places(full), axis=1).astype(np.int64).reshape(-1, full, full)
            flat = _widened([one.class_sums for one in some], full * classes)
            class_sums = flat.astype(np.int64).reshape(-1, full, classes)
            asked = [False] * len(some) if accepted else doubtful(grams, class_sums, upper).tolist()
            for one, gram, sums, doubt in zip(some, grams, class_sums, asked, strict=True):
                if not doubt:
                    reports[one.place] = one.report(gram, sums)
    return reports


def _widened(tables: Sequence[_Planes], length: int) -> AnyArray:
    """Planes of tables of one width -> whole numbers (k, length) of that width."""
    width = tables[0][0]
    values = np.empty((len(tables), length), f"<i{width}")
    content = values.view(np.uint8).reshape(len(tables), length, width)
    planes = np.frombuffer(b"".join(planes for _, planes in tables), np.uint8).reshape(len(tables), width, length)
    for index in range(width):
        content[:, :, index] = planes[:, index]
    return values


def _inflated(packed: memoryview, length: int) -> _Planes:
    """A table that `headway.maths.statistics.pack` wrote. Raises ValueError, zlib.error."""
    width = packed[0] if packed else 0
    if width not in (2, 4, 8):
        raise ValueError
    inflate = zlib.decompressobj()
    planes = inflate.decompress(packed[1:], width * length + 1)
    if len(planes) != width * length or not inflate.eof or inflate.unused_data:
        raise ValueError
    return width, planes


@lru_cache(64)
def _classes(text: bytes) -> tuple[str, ...]:
    """Names of classes as they stand in a header. Raises ValueError."""
    if not _PLAIN.fullmatch(text):
        raise ValueError
    plain = text.replace(b'\\"', b'"')
    try:
        return read_classes(Fields({"classes": parse_json(plain, "classes", RemoteError)}, "", RemoteError))
    except RemoteError as error:
        raise ValueError from error


def _numbers(text: bytes) -> tuple[int, ...]:
    """Raises ValueError."""
    return tuple(map(int, text.split(b","))) if text else ()
