"""Tables, images and sounds as training data: what is read, and what is asked for where a file does not say it."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest

from converter.features import Reading, as_training_data
from converter.features.readers import read_csv, read_folder
from headway.errors import DataError

TABLE = "time,ax,ay,label\n0,1,2,walk\n1,,4,walk\n2,5,6,idle\n3,7,8,idle\n4,9,10,idle\n"


def table(folder: Path, text: str = TABLE) -> Path:
    (folder / "t.csv").write_text(text)
    return folder / "t.csv"


def test_a_table_is_read_with_gaps_and_names(tmp_path: Path) -> None:
    data = as_training_data(table(tmp_path), reading=Reading(columns=("ay", "ax")))
    assert data.x.tolist()[0] == [2, 1]
    assert np.isnan(data.x[1, 1])
    assert (data.classes, data.y.tolist(), data.named) == (("idle", "walk"), [1, 1, 0, 0, 0], False)


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_other_delimiters_and_marks_at_the_start_are_met(delimiter: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("\n" + TABLE.replace(",", delimiter), encoding="utf-8-sig")
    read = read_csv(tmp_path / "t.csv", Reading())
    assert (read.x.shape, read.y.tolist()) == ((5, 3), ["walk", "walk", "idle", "idle", "idle"])


@pytest.mark.parametrize(
    ("labels", "found", "kind"),
    [
        (("2", "", "1", "1"), [2, 1, 1], "i"),
        (("2.5", "NA", "1", "2"), [2.5, 1, 2], "f"),
        (("b", "", "a", "a"), ["b", "a", "a"], "U"),
    ],
)
def test_rows_without_a_label_are_left_out_where_that_is_asked_for(
    labels: tuple[str, ...], found: list[object], kind: str, tmp_path: Path
) -> None:
    path = table(tmp_path, "a,y\n" + "".join(f"{row**2},{label}\n" for row, label in enumerate(labels)))
    with pytest.raises(DataError, match="line 3 has no label .*: --skip-unlabelled"):
        read_csv(path, Reading())
    read = read_csv(path, Reading(skip_unlabelled=True))
    assert (read.x[:, 0].tolist(), read.y.tolist(), read.y.dtype.kind) == ([0, 4, 9], found, kind)
    assert read.notes == ("1 of 4 rows of t.csv have no label and are left out",)


def test_rows_under_one_label_become_windows(tmp_path: Path) -> None:
    read = read_csv(table(tmp_path), Reading(columns=("time",), window=2))
    assert (read.x[:, :, 0].tolist(), read.y.tolist()) == ([[0, 1], [2, 3]], ["walk", "idle"])


def test_labels_in_numbers_and_in_several_columns(tmp_path: Path) -> None:
    path = table(tmp_path, "a,b,target\n1,0.5,2\n2,0.25,0\n")
    assert read_csv(path, Reading()).y.tolist() == [2, 0]
    read = read_csv(path, Reading(labels=("b", "target")))
    assert (read.x.tolist(), read.y.tolist()) == ([[1], [2]], [[0.5, 2], [0.25, 0]])


@pytest.mark.parametrize(
    ("text", "reading", "message"),
    [
        ("", Reading(), "holds no line; it needs"),
        ("a,label\n", Reading(), "holds only the line of column names"),
        ("a,b\n1,2\n", Reading(), r"none called label; name the one with y: --label COLUMN"),
        (TABLE, Reading(labels=("speed",)), "has no column 'speed'; it has"),
        ("a,label\n1,x\n2\n", Reading(), "line 3 has 1 cells; the first line names 2 columns"),
        ("a,label\n1,x\nnorth,y\n", Reading(), "line 3: 'north' in column 'a' is no number; correct it, or"),
        ("a,b,c,label\n2026-01-05,1,EUR,x\n", Reading(), r"columns \['a', 'c'\] of x hold .*: --without a,c"),
        ("a;b;label\n1,5;2;x\n1.234,5;2;y\n", Reading(), r"line 3: '1.234,5' in column 'a' is no number"),
        ("a;label\n1,5;x\n1.234;y\n", Reading(), r"has decimal commas and '1.234'; write numbers without points"),
        ("a,label\n1,x\n\n2,\n", Reading(), "line 4 has no label in 'label' .1 of 2 rows have none"),
        ("a,b,label\n1,2,x\n3,4,y\n", Reading(without=("c",)), "has no column 'c'"),
        ("a,b,label\n1,2,x\n3,4,y\n", Reading(columns=("a",), without=("a",)), "'a' of .* is asked for twice"),
        (TABLE, Reading(columns=("ax",), window=9), "holds no 9 rows in a row under one label"),
        ("a,a,label\n1,2,x\n3,4,y\n", Reading(), "has 2 columns called 'a'; give them different names"),
        (TABLE, Reading(columns=("ax", "label")), "column 'label' of .* is asked for twice, among x and y"),
        ("label\nx\ny\n", Reading(), "all of them labels or left out; x needs one"),
    ],
)
def test_a_table_that_cannot_be_read_is_named_with_its_line(
    text: str, reading: Reading, message: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=message):
        read_csv(table(tmp_path, text), reading)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"a,label\n\xff\xfe\x00,1\n")
    with pytest.raises(DataError, match="t.csv is not UTF-8 .*; save it as CSV in UTF-8"):
        read_csv(tmp_path / "t.csv", Reading())
    with pytest.raises(DataError, match="cannot read .*gone.csv: No such file"):
        read_csv(tmp_path / "gone.csv", Reading())


def sound(path: Path, values: list[int], width: int = 2, channels: int = 1) -> None:
    path.parent.mkdir(exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(16000)
        unsigned = [value + 128 for value in values] if width == 1 else values
        file.writeframes(b"".join(value.to_bytes(width, "little", signed=width > 1) for value in unsigned))


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_sounds_of_every_width_lie_between_minus_one_and_one(width: int, tmp_path: Path) -> None:
    top = 2 ** (8 * width - 1)
    sound(tmp_path / "no" / "a.wav", [0, top // 2, -top, -1], width)
    sound(tmp_path / "yes" / "b.wav", [0, 0, 0, 0], width)
    x, y = read_folder(tmp_path, Reading())
    assert x[0].tolist() == pytest.approx([0, 0.5, -1, -1 / top])
    assert (x.shape, x.dtype, y.tolist()) == ((2, 4), np.float32, ["no", "yes"])


def test_channels_and_lengths_of_sounds(tmp_path: Path) -> None:
    sound(tmp_path / "no" / "a.wav", [0, 16384, 0, -16384], channels=2)
    assert read_folder(tmp_path, Reading())[0].tolist() == [[[0, 0.5], [0, -0.5]]]
    sound(tmp_path / "yes" / "b.wav", [0] * 6, channels=2)
    with pytest.raises(DataError, match="must be alike: --window SAMPLES cuts and fills them"):
        read_folder(tmp_path, Reading())
    assert read_folder(tmp_path, Reading(window=4))[0].shape == (2, 4, 2)


def test_a_file_that_is_no_sound_is_named(tmp_path: Path) -> None:
    (tmp_path / "no").mkdir()
    (tmp_path / "no" / "a.wav").write_bytes(b"RIFF....")
    with pytest.raises(DataError, match="a.wav is not a WAV file of plain PCM"):
        read_folder(tmp_path, Reading())


def test_images_are_read_by_folder_and_scaled_when_asked(tmp_path: Path) -> None:
    tf = pytest.importorskip("tensorflow", reason="the converter extra is not installed")
    for name, height in (("cat", 4), ("dog", 6)):
        (tmp_path / name).mkdir()
        image = tf.io.encode_png(np.full((height, 4, 3), 200, np.uint8))
        (tmp_path / name / "1.png").write_bytes(image.numpy())
    with pytest.raises(DataError, match="must be alike: --image-size H,W scales them"):
        read_folder(tmp_path, Reading())
    x, y = read_folder(tmp_path, Reading(image_size=(4, 4)))
    assert (x.shape, set(np.unique(x).tolist()), y.tolist()) == ((2, 4, 4, 3), {200.0}, ["cat", "dog"])
    (tmp_path / "dog" / "1.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="1.png is not an image that can be read"):
        read_folder(tmp_path, Reading())


def test_a_folder_of_neither_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "notes.txt").write_text("x")
    with pytest.raises(DataError, match="holds no images .* in sub-folders named as their classes"):
        read_folder(tmp_path, Reading())
