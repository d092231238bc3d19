"""Fleets of people who did not train the model: each labels a few windows of each class and is scored on later ones.

Two data sets, so that nothing is chosen by one and believed: exercises on the wrist (`datasets.watch`, both wrists of
five people) and spoken words (`datasets.speech`, ten people).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks import datasets
from benchmarks.datasets import Rows
from benchmarks.tasks import Device, Task, joined
from headway.arrays import Int64


@dataclass(frozen=True, slots=True)
class People:
    """devices: person -> devices of that person, each rows and every row's position among those of its class, int64.

    later: rows from this position on are never taught. gap: so many positions after the labelled ones are dropped,
    because their windows overlap.
    """

    name: str
    classes: tuple[str, ...]
    devices: dict[int, list[tuple[Rows, Int64]]]
    trained: int
    later: int
    gap: int


def watch(data: Path) -> People:
    """Ten people, two wrists each, seven exercises; windows overlap by half. The first five train the model."""
    wrists, classes = datasets.watch()
    devices: dict[int, list[tuple[Rows, Int64]]] = {}
    for (person, _), device in wrists.items():
        devices.setdefault(person, []).append(device)
    return People("watch", classes, devices, trained=5, later=8, gap=1)


def speech(data: Path) -> People:
    """Thirty people, thirty words, each said ten times. The first twenty train the model."""
    people, words = datasets.speech(data)
    return People("speech", words, {person: [device] for person, device in people.items()}, trained=20, later=5, gap=0)


def few_labels(
    load: Callable[[Path], People],
    labels: int,
    *,
    labelled_classes: int = 0,
    new_classes: int = 0,
    drawn: bool = False,
    windows: str = "",
    draw: int = 0,
    draws: int = 1,
) -> Callable[[Path, int], Task]:
    """A task: every device gets its first `labels` windows of each class, and is scored on the later ones.

    labelled_classes: labels come of so many classes only, drawn for each device; 0 for all. new_classes: so many,
    drawn by the seed, are not in the training data. drawn: the people who train the model are drawn by the seed.
    windows: the device sees its other windows before `People.later`, too, in time order between the labels, which are
    of windows drawn for each device: "all" of them, without a third of the classes ("missing"), or so few of the other
    classes that one class makes 70 per cent ("uneven"). draw: another of the labelled windows, by the same people.
    draws: so many devices of everybody, each with labels of other classes; the model is the same.
    """

    def task(data: Path, seed: int) -> Task:
        people = load(data)
        random = np.random.default_rng(seed)
        everybody = np.array(sorted(people.devices))
        order = random.permutation(everybody) if drawn else everybody
        known, added, places = _split(people.classes, new_classes, random)
        training = joined([rows for person in sorted(order[: people.trained]) for rows, _ in people.devices[person]])
        training = Rows(training.x, places[training.y])
        devices = []
        if draw:
            random = np.random.default_rng((seed, draw))
        for person in sorted(order[people.trained :]):
            for side, (rows, position) in enumerate(people.devices[person]):
                y = places[rows.y]
                later = position >= max(people.later, labels) + people.gap
                tests = {"later": Rows(rows.x[later], y[later])}
                for turn in range(draws):
                    seen = random.permutation(len(people.classes))[: labelled_classes or len(people.classes)]
                    if windows:
                        early = np.flatnonzero(position < people.later)
                        taught = np.concatenate([random.permutation(early[y[early] == c])[:labels] for c in seen])
                        others = np.setdiff1d(early, taught)
                        others = others[_kept(y[others], windows, len(people.classes), random)]
                    else:
                        taught = np.flatnonzero((position < labels) & np.isin(y, seen))
                    # round by round: the first window of every class, then the second ...
                    taught = taught[np.argsort(position[taught], kind="stable")]
                    name = f"{person}-{side}" if draws == 1 else f"{person}-{side}, draw {turn}"
                    device = Device(name, Rows(rows.x[taught], y[taught]), tests)
                    if windows:
                        others = others[np.argsort(position[others], kind="stable")]
                        before = np.searchsorted(position[taught], position[others]).astype(np.int64)
                        device = replace(device, unlabelled=Rows(rows.x[others], y[others]), labels_before=before)
                    devices.append(device)
        name = f"{people.name}, {labels} label{'s' if labels > 1 else ''} per class"
        if labelled_classes:
            name = f"{people.name}, {labels} of each of {labelled_classes} of {len(people.classes)} classes"
            name += f", {draws} draws" if draws > 1 else ""
        if new_classes:
            name += f", {new_classes} of them new"
        if drawn:
            name += ", other people"
        if windows:
            name += f", windows without a label: {windows}"
        return Task(name, people.name, known, training[training.y < len(known)], tuple(devices), added=added)

    return task


def _kept(y: Int64, windows: str, classes: int, random: np.random.Generator) -> Int64:
    """Places of the windows that a device sees, int64 (n,). y: the classes of all."""
    if windows == "missing":
        return np.flatnonzero(~np.isin(y, random.permutation(classes)[: max(1, classes // 3)]))
    if windows == "uneven":
        one = random.permutation(np.unique(y))[:1]
        most, others = np.flatnonzero(y == one), np.flatnonzero(y != one)
        return np.sort(np.concatenate([most, random.permutation(others)[: round(len(most) * 3 / 7)]]))
    return np.arange(len(y))


def worn_in_turn(load: Callable[[Path], People]) -> Callable[[Path, int], Task]:
    """One device that is used by person after person, drawn by the seed: a stream in order of recording.

    What people do lasts, so that the label before is a strong guess, and with every person things change at once.
    """

    def task(data: Path, seed: int) -> Task:
        people = load(data)
        order = np.random.default_rng(seed).permutation(np.array(sorted(people.devices)))
        training = joined([rows for person in sorted(order[: people.trained]) for rows, _ in people.devices[person]])
        stream = joined([rows for person in order[people.trained :] for rows, _ in people.devices[person]])
        device = Device("shared", stream, {})
        name = f"{people.name}, used by person after person"
        return Task(name, people.name, people.classes, training, (device,), prequential=True)

    return task


def _split(
    classes: tuple[str, ...], new: int, random: np.random.Generator
) -> tuple[tuple[str, ...], tuple[str, ...], Int64]:
    """Classes that the model knows, those that it does not, and the place of every class among both, int64 (C,)."""
    places = np.arange(len(classes), dtype=np.int64)
    if not new:
        return classes, (), places
    added = sorted(random.permutation(len(classes))[:new].tolist())
    order = [place for place in range(len(classes)) if place not in added] + added
    places[order] = np.arange(len(classes))
    return (
        tuple(classes[place] for place in order[: len(classes) - new]),
        tuple(classes[place] for place in added),
        places,
    )
