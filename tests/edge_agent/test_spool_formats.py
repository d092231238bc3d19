"""Spool files that are no .npz: windows or rows, labels and ids, what is refused, and how little memory they take."""

from __future__ import annotations

import json
import resource
import struct
import wave
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from edge_agent.config import SensorSettings
from edge_agent.sensors import Spool, WindowFormat, spool
from headway.errors import DataError
from headway.maths import Task, TimeAxis
from headway.samples import Samples
from headway.stream import Channel, StreamFormat
from headway.windower import cut_windows
from tests.edge_agent.test_spool_disk import ManualClock

CLASSES = ("idle", "walk")
STREAM = StreamFormat((Channel("x", "m/s2"), Channel("y", "m/s2")), rate_hz=10.0, length=4, hop=2, gap_s=1.0)
ROWS = WindowFormat((4, 2), TimeAxis.FIRST, STREAM)
WINDOWS = WindowFormat((2, 3), TimeAxis.FIRST)
MONO = WindowFormat((4, 1), TimeAxis.FIRST, StreamFormat((Channel("sound", "FS"),), rate_hz=8000.0, length=4, hop=4))


class Folder:
    """A spool, read at once."""

    def __init__(self, root: Path, taken: WindowFormat, **changes: object) -> None:
        self.root = root
        self._settings = SensorSettings(root / "spool", root / "answers", settle_s=0.0, **changes)  # type: ignore[arg-type]
        self.spool = Spool(self._settings, ManualClock(), taken)

    def read(self, name: str, content: bytes | str, task: Task = Task.CLASSIFICATION) -> Samples:
        (self.root / "spool" / name).write_bytes(content.encode() if isinstance(content, str) else content)
        (file,) = self.spool.claim(1)
        return self.spool.read(file, CLASSES, new_classes=False, task=task)


def rows_folder(tmp_path: Path, **changes: object) -> Folder:
    return Folder(tmp_path, ROWS, **changes)


def csv_of(rows: np.ndarray, header: str = "", **more: list[str]) -> str:
    lines = [header] if header else []
    for at, row in enumerate(rows):
        lines.append(",".join([*(values[at] for values in more.values()), *map(repr, map(float, row))]))
    return "\n".join(lines) + "\n"


def test_rows_of_every_format_become_the_windows_of_training(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(57, 2))
    expected = cut_windows(None, rows, STREAM)
    npy = tmp_path / "rows.npy"
    np.save(npy, rows)
    contents = {
        "a.csv": csv_of(rows),
        "b.csv": csv_of(rows[:, ::-1], "y,x"),
        "c.npy": npy.read_bytes(),
        "d.jsonl": "".join(json.dumps({"x": x, "y": y}) + "\n" for x, y in rows.tolist()),
        "e.CSV": csv_of(rows, "x;y").replace(",", ";"),
    }
    for number, (name, content) in enumerate(contents.items()):
        (tmp_path / str(number)).mkdir()
        with rows_folder(tmp_path / str(number)).read(name, content) as samples:
            assert_array_equal(samples.windows(0, len(samples)), expected.values)
            assert samples.ids_made
            assert samples.ids is not None
            assert samples.ids[:2] == tuple(f"{name[0]}-{start_s:.6f}" for start_s in expected.starts_s[:2])


def test_a_label_column_labels_the_windows_on_which_their_rows_agree(tmp_path: Path) -> None:
    stream = replace(STREAM, channels=(Channel("a"), Channel("b.c")))
    folder = Folder(tmp_path, replace(ROWS, stream=stream))
    labels = ["walk"] * 5 + [""] + ["idle"] * 6
    lines = [
        json.dumps({"b": {"c": at}, "a": 0, "label": label, "time": 100 + at / 10}) for at, label in enumerate(labels)
    ]
    with folder.read("a.jsonl", "\n".join(lines)) as samples:
        assert samples.y is not None
        assert samples.y.tolist() == [1, -1, -1, 0, 0]
        assert_array_equal(samples.windows(0, 5)[:, 0, 1], [0, 2, 4, 6, 8])
        assert samples.ids is not None
        assert samples.ids[4] == "a-100.800000"


def test_rows_with_times_are_resampled_and_gaps_end_windows(tmp_path: Path) -> None:
    times_s = np.concatenate([np.arange(10) / 20, 60 + np.arange(12) / 20])
    rows = np.stack([times_s, times_s**2], axis=1)
    text = csv_of(rows, "time,x,y", time=[repr(float(time_s)) for time_s in times_s])
    stream = replace(STREAM, channels=(Channel("x"), Channel("z")))
    with Folder(tmp_path, replace(ROWS, stream=stream)).read("a.csv", text.replace("x,y", "x,z")) as samples:
        assert_array_equal(samples.windows(0, len(samples)), cut_windows(times_s, rows, stream).values)


def test_whole_windows_come_as_lines_or_an_array(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(5, 2, 3)).astype(np.float32)
    y = ["walk", "", "idle", "walk", "1"]
    folder = Folder(tmp_path, WINDOWS)
    text = csv_of(x.reshape(5, 6), "id,y,a,b,c,d,e,f", id=list("vwxyz"), y=[*y[:4], ""])
    with folder.read("a.csv", text) as samples:
        assert_array_equal(samples.windows(0, 5), x)
        assert samples.y is not None
        assert samples.y.tolist() == [1, -1, 0, 1, -1]
        assert samples.ids is not None
        assert samples.ids[:] == tuple("vwxyz")
        assert not samples.ids_made
    folder.spool.release(next(iter(folder.spool.recover(0))))
    lines = [json.dumps({"x": window.tolist(), "y": at % 2}) for at, window in enumerate(x)]
    with folder.read("b.jsonl", "\n".join(lines)) as samples:
        assert_array_equal(samples.windows(0, 5), x)
        assert samples.y is not None
        assert samples.y.tolist() == [0, 1, 0, 1, 0]
    folder.spool.release(next(iter(folder.spool.recover(0))))
    np.save(tmp_path / "x.npy", x)
    with folder.read("c.npy", (tmp_path / "x.npy").read_bytes()) as samples:
        assert_array_equal(samples.windows(0, 5), x)


def test_lines_of_id_and_y_are_labels_for_earlier_windows(tmp_path: Path) -> None:
    folder = rows_folder(tmp_path)
    with folder.read("labels.csv", 'id,y\ntake-1-0.200000,walk\n"take, 2-1.000000",idle\n') as samples:
        assert not samples.has_windows
        assert samples.ids is not None
        assert samples.ids[:] == ("take-1-0.200000", "take, 2-1.000000")
        assert samples.y is not None
        assert samples.y.tolist() == [1, 0]
    folder.spool.release(next(iter(folder.spool.recover(0))))
    with folder.read("labels.jsonl", '{"id": "a-1", "y": "walk"}\n') as samples:
        assert len(samples) == 1


def test_the_labels_of_the_page_are_read(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "howto" / "spool.md").read_text()
    block = next(block for block in page.split("```\n") if block.startswith("id,label"))
    with rows_folder(tmp_path).read("labels.csv", block) as samples:
        assert samples.y is not None
        assert samples.y.tolist() == [0, 1]


def test_targets_of_several_outputs_come_as_json(tmp_path: Path) -> None:
    lines = [json.dumps({"x": [0] * 6, "y": y}) for y in ([0.5, None], None, [1, 2])]
    with Folder(tmp_path, WINDOWS).read("a.jsonl", "\n".join(lines), Task.REGRESSION) as samples:
        assert_array_equal(samples.y, np.array([[0.5, np.nan], [np.nan, np.nan], [1, 2]], np.float32))


def wav(values: np.ndarray, bits: int, rate: int = 8000, kind: int = 1, *, size: int | None = None) -> bytes:
    """values: of full scale 1, (frames, channels)."""
    channels = values.shape[1]
    if kind == 3:
        data = values.astype(f"<f{bits // 8}").tobytes()
    elif bits == 8:
        data = np.round(values * 128 + 128).astype(np.uint8).tobytes()
    else:
        whole = np.round(values * 2 ** (bits - 1)).astype("<i8")
        data = whole.view(np.uint8).reshape(-1, 8)[:, : bits // 8].tobytes()
    frame = channels * bits // 8
    chunks = (
        b"LIST\3\0\0\0abc\0"
        + b"fmt \x10\0\0\0"
        + struct.pack("<HHIIHH", kind, channels, rate, rate * frame, frame, bits)
    )
    chunks += b"data" + struct.pack("<I", len(data) if size is None else size) + data
    return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WAVE" + chunks


@pytest.mark.parametrize(("bits", "kind"), [(8, 1), (16, 1), (24, 1), (32, 1), (32, 3), (64, 3)])
def test_sound_of_every_depth_has_full_scale_one(tmp_path: Path, bits: int, kind: int) -> None:
    values = np.round(np.linspace(-1, 0.99, 16)[:, None] * 128) / 128
    with Folder(tmp_path, MONO).read("a.wav", wav(values, bits, kind=kind)) as samples:
        assert_array_equal(samples.windows(0, 4).reshape(16, 1), values.astype(np.float32))
        assert samples.ids is not None
        assert samples.ids[1] == "a-0.000500"


def test_sound_of_the_standard_library_and_of_a_pipe_is_read(tmp_path: Path) -> None:
    values = np.array([[0.5], [-0.25], [0.125], [-1.0]])
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes((values * 32768).astype("<i2").tobytes())
    folder = Folder(tmp_path, MONO)
    for content in ((tmp_path / "a.wav").read_bytes(), wav(values, 16, size=0xFFFFFFFF)):
        with folder.read("a.wav", content) as samples:
            assert_array_equal(samples.windows(0, 1)[0], values.astype(np.float32))
        folder.spool.release(next(iter(folder.spool.recover(0))))


def test_units_of_a_microphone_are_converted(tmp_path: Path) -> None:
    stream = StreamFormat((Channel("sound", "int16"),), rate_hz=8000.0, length=4, hop=4)
    with Folder(tmp_path, replace(MONO, stream=stream)).read("a.wav", wav(np.full((4, 1), 0.5), 16)) as samples:
        assert_allclose(samples.windows(0, 1), 16384.0)


PICKLED = b"\x93NUMPY\1\0v\0" + b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(117) + b"\n\x80\4."


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.csv", "", "a.csv is empty"),
        ("a.csv", "x,y\n1,2\n1,2,3\n", "line 3 has 3 fields, the first one 2"),
        ("a.csv", "x,z\n" + "1,2\n" * 9, "channel 'y' comes not among x, z"),
        (
            "a.csv",
            "1,2,3\n" * 9,
            "a.csv has 3 columns of numbers; the bundle has 2 channels, and 8 numbers in a window",
        ),
        ("a.csv", "x,y\n1,nought\n", "line 2: could not convert string to float: 'nought'"),
        ("a.csv", "x,y\n1,2\n", "a.csv holds no window: 4 rows at 10 Hz"),
        ("a.csv", "x,y,x\n1,2,3\n", "a.csv has column 'x' twice"),
        ("a.csv", "time,x,y\nnoon,1,2\n", "a time is no number of seconds"),
        ("a.csv", b"x,y\n\xff,2\n", "line 2 is no text in UTF-8"),
        ("a.csv", b"x,y\n1,\0\n", "it holds a zero byte"),
        ("a.csv", '"x,y\n1,2\n', "line 1: unexpected end of data"),
        ("a.csv", '1,2\n"1,2\n' * 9, "the line before line 3 has a quote that it does not close"),
        ("a.csv", "1,2\n" + '"1\n",' * 9, "the line before line 3 has a quote that it does not close"),
        ("a.csv", "1,2\n" + "\n \n" * (1 << 18), "a.csv has more than 262144 empty lines"),
        ("a.jsonl", "\n" * (1 << 19), "a.jsonl has more than 262144 empty lines"),
        ("a.csv", "1" * (1 << 21), "line 1 has more than 1048576 bytes"),
        ("a.csv", "target,a,b,c,d,e,f,g,h\nwalk,1,2,3,4,5,6,7,8\n", "a column 'target'; did you mean 'label'?"),
        ("a.csv", "id,label\na,run\n", "label 'run' of sample 0 is no class"),
        ("a.csv", "id,label\na,walk\na,walk\n", "ids must be different"),
        ("a.csv", "uuid,label\na,walk\n", "did you mean 'id'?"),
        ("a.jsonl", "[1, 2]\n", "line 1 is no JSON object"),
        ("a.jsonl", '{"x": ' + "[" * 5000 + "\n", "line 1 is no JSON"),
        ("a.jsonl", '{"x": [1, 2]}\n', "line 1: x has 2 numbers; a window has 8"),
        ("a.jsonl", '{"z": 1}\n', "it needs channel 'x'"),
        (
            "a.json",
            '{"x": [1]}',
            ".json is no format that a spool folder takes (.npz, .npy, .csv, .jsonl and .wav); "
            "write it as one JSON object a line, under the name NAME.jsonl",
        ),
        ("a.TSV", "1\t2\n", "write it as NAME.csv, tabs may stay"),
        ("a.parquet", b"PAR1", ".parquet is no format that a spool folder takes"),
        ("a", "1,2", "a name without an ending is no format"),
        ("a.zip", b"PK\3\4", "a.zip is not a readable .npz file"),
        ("a.npy", b"no array at all", "a.npy is not a readable .npy file"),
        ("a.npy", PICKLED, "holds Python objects, which are not unpickled"),
        ("a.wav", b"RIFX0000WAVE", "a.wav is no WAVE file"),
        ("a.wav", b"RIFF", "a.wav ends too early"),
        ("a.wav", wav(np.zeros((4, 2)), 16)[:-3], "16 bytes of samples are declared, 13 are there"),
        ("a.wav", wav(np.zeros((4, 1)), 16), "a.wav has 1 channels; the bundle takes 2"),
        ("a.wav", wav(np.zeros((4, 2)), 16), "has 8000 samples a second; the bundle takes 10"),
        ("a.wav", wav(np.zeros((4, 2)), 16, kind=85), "WAVE of format 85 with 16 bits"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(
    tmp_path: Path, name: str, content: bytes | str, reason: str
) -> None:
    with pytest.raises(DataError) as refused:
        rows_folder(tmp_path).read(name, content)
    assert reason in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_recording_needs_a_bundle_that_says_how_windows_are_cut(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the bundle takes whole windows alone; convert the model with --stream"):
        Folder(tmp_path, WINDOWS).read("a.wav", wav(np.zeros((4, 1)), 16))


def test_labels_that_would_take_too_much_are_refused(tmp_path: Path) -> None:
    text = "".join(f"{at},walk\n" for at in range(500))
    with pytest.raises(DataError, match=r"more than 1024 bytes \(labels_bytes_max\); write more files"):
        rows_folder(tmp_path, labels_bytes_max=1024).read("a.csv", "id,label\n" + text)
    with pytest.raises(DataError, match="labels_bytes_max"):
        rows_folder(tmp_path / "b", labels_bytes_max=1024).read("a.csv", "x,y\n" + "1,2\n" * 500)


def test_a_file_that_is_changed_while_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "HELD_BYTES_MAX", 1000)
    folder = Folder(tmp_path, replace(ROWS, stream=replace(STREAM, hop=1)))
    samples = folder.read("a.csv", "1,2\n" * 60_000)
    samples.windows(0, 10)
    with (tmp_path / "spool" / "claimed").joinpath("000000000001-a.csv").open("ab") as file:
        file.write(b"3,4\n")
    starts = iter(range(10, len(samples), 1000))
    with pytest.raises(DataError, match="was changed while it was read"):
        any(samples.windows(start, min(len(samples), start + 1000)).size == 0 for start in starts)
    samples.close()


def test_whole_arrays_and_sounds_are_taken_at_once_and_lines_when_they_have_settled(tmp_path: Path) -> None:
    clock = ManualClock()
    taking = Spool(SensorSettings(tmp_path / "spool", tmp_path / "answers"), clock, ROWS)
    list(taking.claim(1))
    sound = wav(np.zeros((4, 2)), 16)
    for name, content in (("a.wav", sound), ("b.wav", sound[:-4]), ("c.csv", b"1,2\n")):
        (tmp_path / "spool" / name).write_bytes(content)
    np.save(tmp_path / "spool" / "d.npy", np.zeros((9, 2)))
    assert {file.name for file in taking.claim(1)} == {"a.wav", "d.npy"}
    clock.now_s += 6
    assert {file.name for file in taking.claim(3)} == {"b.wav", "c.csv"}


def test_windows_that_overlap_much_take_little_memory(tmp_path: Path) -> None:
    """A quarter of a second at each of 8,000 moments: 128 MB, cut at once."""
    window = WindowFormat((4000, 1), TimeAxis.FIRST, StreamFormat((Channel("s"),), 16000.0, 4000, 1))
    rows = np.arange(12_000, dtype=np.float32)
    np.save(tmp_path / "rows.npy", rows[:, None])
    folder = Folder(tmp_path, window, file_bytes_max=1024, labels_bytes_max=1 << 20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with folder.read("a.npy", (tmp_path / "rows.npy").read_bytes()) as samples:
        assert len(samples) == 8_001
        assert samples.windows(0, 32)[:, 0, 0].tolist() == rows[:32].tolist()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40 << 10


def test_an_hour_of_sound_takes_little_memory(tmp_path: Path) -> None:
    """Two minutes here: 15 MB."""
    window = WindowFormat((16000, 1), TimeAxis.FIRST, StreamFormat((Channel("s"),), 32000.0, 16000, 16000))
    sound = wav(np.zeros((120 * 32000, 1), np.float32), 32, 32000, 3)
    folder = Folder(tmp_path, window, file_bytes_max=1 << 30)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with folder.read("a.wav", sound) as samples:
        for start in range(0, len(samples), 32):
            samples.windows(start, start + 32)
        assert len(samples) == 240
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 12 << 10
