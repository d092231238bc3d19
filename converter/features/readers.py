"""Training data as people have it: a table in a CSV file, or a folder with one sub-folder of images or sounds a class.

Values come as the usual loaders give them: images 0..255, sounds -1..1, both float32. A device must be given the same.
"""

from __future__ import annotations

import wave
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from headway.arrays import AnyArray, Bools, Float32
from headway.errors import DataError
from headway.tables import Columns, Table, are_whole, read_table

IMAGES = (".png", ".jpg", ".jpeg", ".bmp")
SOUNDS = (".wav",)
SCALES = {1: 128.0, 2: 32768.0, 3: 8388608.0, 4: 2147483648.0}  # by bytes a sample
VALUES_MAX = 1 << 32


@dataclass(frozen=True, slots=True)
class Reading:
    """What a file does not say of itself. labels: columns of a CSV that hold y; columns: those that hold x, in order,
    by default all others; window: rows of a CSV, or samples of a sound, that make one window; stride: rows of a CSV
    from the beginning of a window to that of the next, 0 for as many as make one; image_size: height and width to scale
    images to; text: of a CSV, the column of short texts that x is made of; along_time: x must be windows of several
    rows. rate_hz: of sounds, 0 where it does not matter. skip_unlabelled: leave out rows of a CSV without a label.
    """

    labels: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    text: str = ""
    window: int = 0
    stride: int = 0
    image_size: tuple[int, int] | None = None
    along_time: bool = False
    rate_hz: float = 0.0
    without: tuple[str, ...] = ()
    values: bool = False
    skip_unlabelled: bool = False


def read_csv(path: Path, reading: Reading) -> Table:
    """Rows, or windows, that all have a label, as `headway.tables.read_table` reads them. Raises DataError."""
    if reading.along_time and not reading.window:
        raise DataError(
            f"{path} has one row a sample, and features are along time; give --window N, rows that follow each other"
        )
    columns = Columns(
        reading.labels, reading.columns, reading.text, reading.window, reading.without, reading.values, reading.stride
    )
    table = read_table(path, columns, every_label=not reading.skip_unlabelled)
    return labelled_rows(path, table) if reading.skip_unlabelled else table


def labelled_rows(path: Path, table: Table) -> Table:
    """Without the rows, or windows, that have no label, of which it tells in a note. Raises DataError where none has
    one."""
    y = table.y
    known: Bools = np.asarray(y != "" if y.dtype.kind == "U" else np.isfinite(y.reshape(len(y), -1)).all(axis=1))
    if known.all():
        return table
    if not known.any():
        raise DataError(f"{path} has no label in any row; name the column with y: --label COLUMN")
    y = y[known]
    if y.dtype.kind == "f" and y.ndim == 1 and are_whole(y):
        y = y.astype(np.int64)  # as a column of whole numbers is read
    what = "windows" if table.stride else "rows"
    told = f"{int((~known).sum())} of {len(known)} {what} of {path.name} have no label and are left out"
    return replace(table, x=table.x[known], y=y, notes=(*table.notes, told))


def read_folder(path: Path, reading: Reading) -> tuple[AnyArray, AnyArray]:
    """x float32 (n, height, width, channels) of images or (n, samples) of sounds; y: names of the sub-folders (n,).

    Raises DataError with file and fix.
    """
    files = [(file, folder.name) for folder in sorted(path.iterdir()) if folder.is_dir() and folder.name[0] != "."
             for file in sorted(folder.rglob("*")) if file.suffix.lower() in (*IMAGES, *SOUNDS)]  # fmt: skip
    if not files:
        raise DataError(
            f"{path} holds no images ({', '.join(IMAGES)}) or sounds (.wav) in sub-folders named as their classes"
        )
    sounds = {file.suffix.lower() in SOUNDS for file, _ in files}
    if len(sounds) > 1:
        raise DataError(f"{path} holds images and sounds; give a folder of one kind")
    read: Callable[[Path, Reading], AnyArray] = _sound if sounds == {True} else _image
    parts: list[AnyArray] = []
    for file, _ in files:
        part = read(file, reading)
        if parts and part.shape != parts[0].shape:
            fix = "--window SAMPLES cuts and fills them" if sounds == {True} else "--image-size H,W scales them"
            raise DataError(f"{file} is {part.shape}, {files[0][0]} is {parts[0].shape}; they must be alike: {fix}")
        if part.size * len(files) > VALUES_MAX:
            raise DataError(f"{path} holds {len(files)} files of {part.size} values, too many to hold in memory")
        parts.append(part)
    return np.stack(parts), np.array([name for _, name in files])


def _sound(file: Path, reading: Reading) -> Float32:
    """float32 (samples,), or (samples, channels) of several channels."""
    try:
        with wave.open(str(file), "rb") as opened:
            width, channels, rate = opened.getsampwidth(), opened.getnchannels(), opened.getframerate()
            raw = opened.readframes(opened.getnframes())
    except (OSError, EOFError, wave.Error) as error:
        raise DataError(f"{file} is not a WAV file of plain PCM: {error}; convert it to 16-bit PCM") from error
    if reading.rate_hz and rate != reading.rate_hz:
        raise DataError(
            f"{file} has {rate} samples a second, the front end {reading.rate_hz:g}; give --rate {rate}, or resample"
        )
    if width == 1:
        values = np.frombuffer(raw, np.uint8).astype(np.float32) - 128
    elif width == 3:
        three = np.frombuffer(raw[: len(raw) // 3 * 3], np.uint8).reshape(-1, 3)
        padded = np.concatenate([np.zeros((len(three), 1), np.uint8), three], axis=1)  # the low byte, then shifted out
        values = (padded.view("<i4")[:, 0] >> 8).astype(np.float32)
    else:
        values = np.frombuffer(raw, f"<i{width}").astype(np.float32)
    frames = (values / np.float32(SCALES[width])).reshape(-1, channels)
    if reading.window:
        frames = frames[: reading.window]
        frames = np.pad(frames, [(0, reading.window - len(frames)), (0, 0)])
    return np.ascontiguousarray(frames[:, 0] if channels == 1 else frames)


def _image(file: Path, reading: Reading) -> Float32:
    """float32 (height, width, channels), 0..255."""
    import tensorflow as tf

    try:
        decoded: Any = tf.io.decode_image(tf.io.read_file(str(file)), expand_animations=False)
    except Exception as error:  # TensorFlow's own errors, which have no parent but Exception
        raise DataError(f"{file} is not an image that can be read: {' '.join(str(error).split())[:200]}") from error
    if reading.image_size is not None:
        decoded = tf.image.resize(decoded, reading.image_size)
    return np.asarray(decoded, np.float32)
