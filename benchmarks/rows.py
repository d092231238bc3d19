"""The rows of the learning benchmark, by the name that `--tasks` takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from benchmarks.people import few_labels, speech, watch, worn_in_turn
from benchmarks.recurring import image_upside_down, recurring, shuffled, tilted_digits, watch_upside_down
from benchmarks.tasks import Task, digits_stream, gas_few, gas_stream, occupancy_stream, rainfall_stream

# of the two classes that get labels, for each device: which they are decides whether it gains
DRAWS = 20

TASKS: dict[str, Callable[[Path, int], Task]] = {
    "gas": lambda data, seed: gas_stream(data, seed, by_class=False),
    "gas-sorted": lambda data, seed: gas_stream(data, seed, by_class=True),
    "gas-few": gas_few,
    "gas-late": lambda data, seed: replace(
        gas_stream(data, seed, by_class=False), name="gas drift, labels late", late=900
    ),
    "watch-turns": worn_in_turn(watch),
    "watch-upside": lambda data, seed: recurring(
        shuffled(worn_in_turn(watch)(data, seed), seed), watch_upside_down, 200
    ),
    "digits-upside": lambda data, seed: recurring(digits_stream(data, seed), image_upside_down, 100),
    "tilted-upside": lambda data, seed: recurring(tilted_digits(data, seed), image_upside_down, 250),
    "watch-1": few_labels(watch, 1),
    "watch-3": few_labels(watch, 3),
    "watch-5": few_labels(watch, 5),
    "watch": few_labels(watch, 8),
    "watch-two": few_labels(watch, 8, labelled_classes=2, draws=DRAWS),
    "watch-new": few_labels(watch, 1, new_classes=2),
    "watch-people-1": few_labels(watch, 1, drawn=True),
    "watch-people-3": few_labels(watch, 3, drawn=True),
    "watch-people": few_labels(watch, 8, drawn=True),
    "watch-people-two": few_labels(watch, 8, labelled_classes=2, draws=DRAWS, drawn=True),
    "speech-1": few_labels(speech, 1, drawn=True),
    "speech-3": few_labels(speech, 3, drawn=True),
    "speech-5": few_labels(speech, 5, drawn=True),
    "speech-two": few_labels(speech, 5, labelled_classes=2, draws=DRAWS, drawn=True),
    "speech-new": few_labels(speech, 1, new_classes=6, drawn=True),
    **{
        f"{name}-{labels}-windows-{windows}": few_labels(load, labels, drawn=True, windows=windows)
        for name, load in (("watch-people", watch), ("speech", speech))
        for labels, windows in ((1, "all"), (1, "missing"), (1, "uneven"), (3, "all"), (5, "all"))
    },
    "occupancy": occupancy_stream,
    "rainfall": rainfall_stream,
    "digits": digits_stream,
}
