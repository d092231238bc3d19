"""Logistics: rentals of a bicycle fleet in the coming hour. The label is there an hour later.

The weather of the coming hour is used as if it were forecast without error.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from headway.arrays import AnyArray, Float32, Int64
from recipes.learning import compared, together
from recipes.measuring import Measured, drawn, measured
from recipes.networks import Workspace, dense

TITLE = "Logistics: demand of the next hour"
CREDIT = (
    "Data: UCI 275 Bike Sharing (CC-BY-4.0), Fanaee-T and Gama: Event labeling combining ensemble detectors and "
    "background knowledge, Progress in AI 2013, doi:10.1007/s13748-013-0040-3."
)
YEAR_H, WINTER_H = 365 * 24, 90 * 24
LAGS_H = (1, 2, 24, 168)


def run(workspace: Workspace, seed: int) -> list[Measured]:
    """Frozen after the first year; and after the first ninety days, which were winter only."""
    hour, x, rentals, same = load_bikes(workspace.file("logistics_bikes.npz"))
    calls = {}
    for name, known, after, prototype in (
        ("bikes", hour < YEAR_H, hour >= YEAR_H, (28.2, 28.7)),
        ("bikes-winter", hour < WINTER_H, (hour >= WINTER_H) & (hour < YEAR_H), None),
    ):
        train, later = (x[known], rentals[known]), (x[after], rentals[after])
        calls[name] = partial(stream, workspace, seed, name, train, later, same[after], prototype)
    return [*together(calls).values()]


def stream(workspace: Workspace, seed: int, name: str, train: Any, later: Any, same: Float32,
           prototype: tuple[float, float] | None) -> Measured:  # fmt: skip
    bundle = workspace.bundle(name, seed, partial(trained, train, seed))
    answers = compared(bundle, train, later, seed, gradient=name == "bikes")
    answers["same hour last such day"] = same
    what = "the first year" if name == "bikes" else "ninety days of winter"
    return measured(f"Rentals of the next hour, frozen after {what}", later[1], answers, prototype=prototype,
                    naive="same hour last such day", measure="mean absolute error, rentals",
                    picture=drawn(partial(week, truth=later[1], answers=answers)))  # fmt: skip


def trained(train: tuple[Float32, Float32], seed: int) -> tuple[Any, AnyArray, AnyArray]:
    """Chosen on the last quarter of the first year, after training on the three before (docs/recipes/logistics.md)."""
    return dense(*train, seed, (64, 64), epochs=60, dropout=0.1, decay=True), *train


def load_bikes(path: Path) -> tuple[Int64, Float32, Float32, Float32]:
    """Hours since 2011; x float32 (n, 61); rentals; and those of the same hour on the last day of the same kind."""
    data = np.load(path, allow_pickle=False)
    hour, raw, rentals = data["hour"].astype(np.int64), data["x"], data["rentals"].astype(np.float32)
    at = dict(zip(hour.tolist(), rentals.tolist(), strict=True))
    past = np.array([[at.get(h - lag, np.nan) for lag in LAGS_H] for h in hour.tolist()], np.float32)
    past = np.where(np.isfinite(past), past, np.nanmean(past, axis=0))  # the first week, and hours that are missing
    whole = raw.astype(np.int64)
    kinds = [np.eye(24)[whole[:, 0]], np.eye(7)[whole[:, 1]], raw[:, 2:4], *(np.eye(size)[whole[:, column] - 1]
             for column, size in ((4, 4), (5, 12), (6, 4)))]  # fmt: skip
    last: dict[tuple[int, int], float] = {}
    same = np.zeros(len(hour), np.float32)
    for row, (h, working, value) in enumerate(zip(whole[:, 0], whole[:, 3], rentals, strict=True)):
        same[row] = last.get((int(h), int(working)), float(rentals[: row + 1].mean()))
        last[int(h), int(working)] = float(value)
    return hour, np.concatenate([*kinds, raw[:, 7:], past], axis=1).astype(np.float32), rentals, same


def week(axes: Any, truth: AnyArray, answers: dict[str, AnyArray]) -> None:
    rows = slice(-168, None)
    axes.plot(truth[rows], color="black", label="what came")
    for name in ("frozen", "exact"):
        axes.plot(answers[name][rows], linewidth=1, label=name)
    axes.set_title("the last 168 rows")
    axes.legend(fontsize=8)
