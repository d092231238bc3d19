"""Recommender: what a user will rate a film, by a network that knows other users and a head that learns this one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from headway.arrays import AnyArray, Float32, Int64
from recipes.learning import compared, each
from recipes.measuring import Measured, drawn, measured
from recipes.naive import RunningMean
from recipes.networks import Workspace, dense

TITLE = "Recommender: this user's ratings"
CREDIT = (
    "Data: MovieTweetings, snapshot 100K (MIT, Copyright (c) 2013 Simon Dooms), Dooms, De Pessemier, Martens: "
    "MovieTweetings, CrowdRec 2013."
)
RATINGS_MIN, LIKED = 40, 8


def run(workspace: Workspace, seed: int) -> list[Measured]:
    x, rating, user = load(workspace.file("recommender_movietweetings.npz"))
    many = np.flatnonzero(np.bincount(user) >= RATINGS_MIN)
    tested = many[::2]  # every second of those who rate much, as the prototype; all others are trained on
    known = ~np.isin(user, tested)
    train, later = (x[known], rating[known]), (x[~known], rating[~known])
    bundle = workspace.bundle("recommender", seed, lambda: (dense(train[0], train[1], seed, (32,), epochs=8), *train))
    streams = [np.flatnonzero(user[~known] == one) for one in tested]
    answers = compared(bundle, train, later, seed, streams)
    count, mean, film = len(later[1]), float(train[1].mean()), later[0][:, -4]
    nobody = np.zeros(0)
    answers["user mean"] = each(lambda: RunningMean(np.zeros(count), later[1], nobody, nobody, mean), streams, count)
    answers["film mean"] = film
    error = later[1] - answers["frozen"]
    own = each(lambda: RunningMean(np.zeros(count), error, nobody, nobody, 0.0, weight=5.0), streams, count)
    answers["frozen + the user's mean error"] = answers["frozen"] + own
    place = np.zeros(count)
    for rows in streams:
        place[rows] = np.arange(len(rows)) / len(rows)
    made = measured("Rating of the next film, 0 to 10", later[1], answers, naive="user mean", along=place,
                    measure="mean absolute error", prototype=(1.083, 1.093),
                    picture=drawn(lambda axes: users(axes, later[1], answers, streams)))  # fmt: skip
    ours, bias = made.figures["exact"], made.figures["frozen + the user's mean error"]
    note = f"one number a user (how much higher they rate) reaches {bias:.3f}, the exact learner {ours:.3f}"
    liked = {name: np.where(found >= LIKED - 0.5, 1, 0) for name, found in answers.items()}
    right = measured("Will they like it (8 or more)?", np.where(later[1] >= LIKED, 1, 0), liked, naive="user mean",
                     along=place, prototype=(73.3, 73.3))  # fmt: skip
    return [replace(made, notes=(note,)), right]


def load(path: Path) -> tuple[Float32, Float32, Int64]:
    """x float32 (n, 29): genres, then the film's mean, log of its ratings so far, year; in order of time."""
    data = np.load(path, allow_pickle=False)
    genres = (data["genres"][:, None] >> np.arange(25, dtype=np.uint32)) & 1
    count = data["film_count"].astype(np.float32)
    rest = [data["film_mean"], np.log1p(count), data["year"].astype(np.float32), (count == 0).astype(np.float32)]
    x = np.concatenate([genres, np.stack(rest, axis=1)], axis=1).astype(np.float32)
    return x, data["rating"].astype(np.float32), data["user"].astype(np.int64)


def users(axes: Any, truth: Float32, answers: dict[str, AnyArray], streams: list[Int64]) -> None:
    """Each user is a point: below the line the learned head is the better one."""
    error = {n: [np.abs(answers[n][rows] - truth[rows]).mean() for rows in streams] for n in ("frozen", "exact")}
    axes.plot(error["frozen"], error["exact"], ".", label="a user")
    ends = [0, max(error["frozen"])]
    axes.plot(ends, ends, color="black", linewidth=0.8)
    axes.set_xlabel("mean absolute error, frozen")
    axes.set_ylabel("exact")
    axes.legend(fontsize=8)
