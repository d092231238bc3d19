"""Spool files of other formats as targets: one array, lines of CSV and JSON, sound; rows, windows and labels."""

from __future__ import annotations

import atexit
import io
import shutil
import struct
import tempfile
from pathlib import Path

import numpy as np

from edge_agent.sensors import WindowFormat
from edge_agent.sensors.formats import FormatReader, is_whole
from headway.errors import DataError
from headway.maths import Task, TimeAxis
from headway.npz import open_file
from headway.ports import SystemClock
from headway.stream import Channel, GapRule, StreamFormat

CLASSES = ("idle", "walk")
CHANNELS = (Channel("x", "m/s2"), Channel("b.c"))
TAKEN = (
    WindowFormat((4, 2), TimeAxis.FIRST, StreamFormat(CHANNELS, rate_hz=10.0, length=4, hop=2)),
    WindowFormat((2, 4), TimeAxis.LAST, StreamFormat(CHANNELS, 10.0, 4, 9, gap=GapRule.MISSING, gap_s=0.3)),
    WindowFormat((4, 2), TimeAxis.FIRST),
)


class TableFolder:
    """The first byte says which format, bundle and task the others are read with."""

    def __init__(self) -> None:
        self._root = Path(tempfile.mkdtemp(prefix="fuzz-table-"))
        atexit.register(shutil.rmtree, self._root, ignore_errors=True)

    def read(self, payload: bytes) -> None:
        choice = payload[0] if payload else 0
        name = ("a.csv", "a.jsonl", "a.npy", "a.wav")[choice % 4]
        (path := self._root / name).write_bytes(payload[1:])
        with open_file(path) as file:
            is_whole(file, name)
        task = tuple(Task)[choice // 12 % len(tuple(Task))]
        with FormatReader(TAKEN[choice // 4 % 3], SystemClock()).read(
            open_file(path), name, CLASSES, inflated_bytes_max=1 << 20, new_classes=True,
            label_files=True, task=task, label_map={"go": "walk"}, labels_bytes_max=1 << 16,
            held_bytes_max=(0, 1 << 20)[len(payload) % 2],
        ) as samples:  # fmt: skip
            for start in range(0, len(samples) if samples.has_windows else 0, 3):
                samples.windows(start, start + 3)
            for text in (*(samples.ids or ()), *samples.names, *samples.unread):
                str(DataError(text)).encode()


def tables() -> tuple[bytes, ...]:
    """One of every sort."""
    rows = np.random.default_rng(0).normal(size=(9, 2))
    texts = {
        0: "x,b.c\n" + "".join(f"{x},{y}\n" for x, y in rows.tolist()),
        1: "".join(f'{{"x": {x}, "b": {{"c": {y}}}, "label": "walk"}}\n' for x, y in rows.tolist()),
        4: "time;x;b.c;label\n" + "".join(f"{at / 9};{x};{y};idle\n" for at, (x, y) in enumerate(rows.tolist())),
        8: "id,y,a,b,c,d,e,f,g,h\nm,walk,1,2,3,4,5,6,7,8\nn,,1,2,3,4,5,6,7,\n",
        9: '{"x": [[1, 2], [3, 4], [5, 6], [7, null]], "y": 1, "id": 3}\n',
        5: '{"id": "a-1.000000", "label": "walk"}\n{"id": "b", "label": ""}\n',
        21: '{"x": [[1, 2, 3, 4], [3, 4, 5, 6]], "label": [0.5, null]}\n',
    }
    arrays = io.BytesIO()
    np.save(arrays, rows)
    data = (rows * 1000).astype("<i2").tobytes()
    head = b"fmt \x10\0\0\0" + struct.pack("<HHIIHH", 1, 2, 10, 40, 4, 16) + b"data" + struct.pack("<I", len(data))
    sound = b"RIFF" + struct.pack("<I", len(head) + len(data) + 4) + b"WAVE" + head + data
    return (
        *(bytes([choice]) + text.encode() for choice, text in texts.items()),
        b"\2" + arrays.getvalue(),
        b"\3" + sound,
    )
