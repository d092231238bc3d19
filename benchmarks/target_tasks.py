"""Regressions and multi-label tasks of the benchmark: real streams, in time order, with every label a moment later.

bikes     UCI 275, Fanaee-T & Gama 2013: fields/logistics_bikes.npz; rentals of the coming hour, and of members
films     Dooms et al. 2013 (MovieTweetings): fields/recommender_movietweetings.npz; user after user
scanner   LeCun et al. (MNIST), and UCI 80: fields/image_digits_drift.npz; yes-no questions about digits
digits    scikit-learn package (UCI 80): the same questions, on a scanner that turns slowly and fades
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import datasets
from headway.arrays import AnyArray, Float32, Int64
from headway.maths import Task

QUARTER_HOURS, YEAR_HOURS = 90 * 24, 365 * 24
FILM_USERS, FILM_RATINGS = 20, (40, 120)
QUESTIONS = {"even": (0, 2, 4, 6, 8), "above four": (5, 6, 7, 8, 9), "has a loop": (0, 6, 8, 9), "prime": (2, 3, 5, 7)}
DIGITS_TRAINED = 600
# hours of a stream: three months
HOURS = 2048


@dataclass(frozen=True, slots=True)
class TargetTask:
    """x: float32 (n, ...), y: float32 (n, C); training: how many rows come first and train the model; streams: rows of
    each device, in time order."""

    name: str
    task: Task
    outputs: tuple[str, ...]
    x: Float32
    y: Float32
    training: Int64
    streams: tuple[Int64, ...]


def bikes(data: Path, seed: int, hours: int, *, unknown: float = 0.0) -> TargetTask:
    """Frozen on the first `hours`. unknown: share of the stream's targets that nobody tells, drawn one by one."""
    with np.load(data / "fields" / "logistics_bikes.npz", allow_pickle=False) as loaded:
        x, hour = loaded["x"].astype(np.float32), loaded["hour"]
        y = np.stack([loaded["rentals"], loaded["members"]], axis=1).astype(np.float32)
    trained = np.flatnonzero(hour < hours)
    names: tuple[str, ...] = ("rentals", "members")
    if not unknown:
        y, names = y[:, :1], names[:1]
    rest = np.arange(len(trained), len(trained) + HOURS)
    if unknown:
        hidden = np.random.default_rng(seed).random(y.shape) < unknown
        hidden[: len(trained)] = False
        y = np.where(hidden, np.float32(np.nan), y)
    name = f"bikes, frozen after {hours // 24} days" + (", half of two targets unknown" if unknown else "")
    return TargetTask(name, Task.REGRESSION, names, x, y, trained, (rest,))


def films(data: Path, seed: int) -> TargetTask:
    """Trained on the ratings of all others; a draw of users, each of whose ratings come one after another."""
    with np.load(data / "fields" / "recommender_movietweetings.npz", allow_pickle=False) as loaded:
        user, genres = loaded["user"], loaded["genres"].astype(np.int64)
        count, mean = loaded["film_count"].astype(np.float64), loaded["film_mean"].astype(np.float64)
        year, y = loaded["year"].astype(np.float64), loaded["rating"].astype(np.float32)[:, None]
        kinds = len(loaded["genre_names"])
    flags = (genres[:, None] >> np.arange(kinds)) & 1
    known = count > 0
    rest = np.stack([np.where(known, mean, 7.0), np.log1p(count), (year - 1990) / 20, known], axis=1)
    x = np.concatenate([flags, rest], axis=1).astype(np.float32)
    ratings = np.bincount(user)
    eligible = np.flatnonzero(ratings >= FILM_RATINGS[0])
    chosen = np.random.default_rng(seed).permutation(eligible)[:FILM_USERS]
    streams = tuple(np.flatnonzero(user == one)[: FILM_RATINGS[1]] for one in chosen.tolist())
    return TargetTask("films, one user a device", Task.REGRESSION, ("rating",), x, y,
                      np.flatnonzero(~np.isin(user, eligible)), streams)  # fmt: skip


def scanner(data: Path, seed: int) -> TargetTask:
    """Trained on MNIST; digits of another scanner and other writers, a real shift, in a drawn order."""
    with np.load(data / "fields" / "image_digits_drift.npz", allow_pickle=False) as loaded:
        parts = [loaded[name].astype(np.float32) for name in ("train_x", "scanner_x")]
        digits = np.concatenate([loaded["train_y"], loaded["scanner_y"]]).astype(np.int64)
    x = np.concatenate([part.reshape(len(part), 8, 8, 1) / max(float(part.max()), 1.0) for part in parts])
    count = len(parts[0])
    order = count + np.random.default_rng(seed).permutation(len(x) - count)
    return TargetTask("questions about digits, another scanner", Task.MULTI_LABEL, tuple(QUESTIONS), x,
                      answers(digits), np.arange(count), (order,))  # fmt: skip


def digits(data: Path, seed: int) -> TargetTask:
    """Trained on the first images; the rest come from a scanner that turns slowly and fades."""
    rows = datasets.digits()
    rest = rows[DIGITS_TRAINED:]
    part = np.linspace(0, 1, len(rest), dtype=np.float32)[:, None, None, None]
    turned = (1 - 0.3 * part) * ((1 - part) * rest.x + part * np.roll(rest.x, 1, axis=2))
    x = (np.concatenate([rows.x[:DIGITS_TRAINED], turned]) / 16).astype(np.float32)
    return TargetTask("questions about digits, slow drift", Task.MULTI_LABEL, tuple(QUESTIONS), x, answers(rows.y),
                      np.arange(DIGITS_TRAINED), (np.arange(DIGITS_TRAINED, len(x)),))  # fmt: skip


def answers(digits: AnyArray) -> Float32:
    """Digits int64 (n,) -> 0 or 1 for each question, float32 (n, C)."""
    return np.stack([np.isin(digits, which) for which in QUESTIONS.values()], axis=1).astype(np.float32)


TASKS: dict[str, Callable[[Path, int], TargetTask]] = {
    "bikes-year": lambda data, seed: bikes(data, seed, YEAR_HOURS),
    "bikes-quarter": lambda data, seed: bikes(data, seed, QUARTER_HOURS),
    "bikes-unknown": lambda data, seed: bikes(data, seed, YEAR_HOURS, unknown=0.5),
    "films": films,
    "scanner": scanner,
    "digits": digits,
}
