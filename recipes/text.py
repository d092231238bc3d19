"""Natural language: short commands to intents. The network knows twenty; the owner teaches ten of his own.

Words and letter groups are hashed into 1,024 columns, on the device as in training, so that no vocabulary is needed.
"""

from __future__ import annotations

import csv
import gzip
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from headway.arrays import AnyArray, Int64
from headway.maths import hashed_text
from recipes.learning import compared, follow
from recipes.measuring import Measured, drawn, measured
from recipes.naive import NearestMean
from recipes.networks import Workspace, dense

TITLE = "Natural language: commands to intents, and intents of one's own"
CREDIT = (
    "Data: CLINC150 without its out-of-scope part (CC-BY-3.0), Larson et al.: An Evaluation Dataset for Intent "
    "Classification and Out-of-Scope Prediction, EMNLP 2019."
)
KNOWN, OWN, ROUNDS, COLUMNS = 20, 10, 20, 1024


def run(workspace: Workspace, seed: int) -> list[Measured]:
    sentences = load(workspace.file("text_intents_clinc150.csv.gz"))
    chosen = np.random.default_rng(seed).permutation(sorted(sentences))[: KNOWN + OWN].tolist()
    train = labelled([sentences[name]["train"] for name in chosen[:KNOWN]])
    later = labelled([sentences[name]["val"][:ROUNDS] for name in chosen])
    # a round is one sentence of each intent, in any order
    order = np.random.default_rng(seed).permuted(np.arange(len(later[1])).reshape(-1, ROUNDS).T, axis=1).ravel()
    later = later[0][order], later[1][order]
    network = partial(dense, *train, seed, (128,), epochs=30, dropout=0.3, standardise=False)
    bundle = workspace.bundle("text", seed, lambda: (network(), *train), expand=0)
    answers = compared(bundle, train, later, seed, new_classes=True)
    answers["nearest mean"] = follow(NearestMean(*later, KNOWN + OWN, train), np.arange(len(later[1])))
    made = measured("One of 30 intents, 10 of them the owner's", later[1], answers, naive="nearest mean",
                    prototype=(81.3, 82.0),
                    picture=drawn(lambda axes: own_intents(axes, later[1], answers)))  # fmt: skip
    half = slice(len(later[1]) // 2, None)
    late = {name: 100 * (answers[name][half] == later[1][half]).mean() for name in ("exact", "nearest mean")}
    notes = (
        f"rounds 11 to 20: exact {late['exact']:.1f} %, nearest mean {late['nearest mean']:.1f} %",
        f"the frozen network cannot name {OWN} of {KNOWN + OWN} intents: it can reach 66.7 % at most",
    )
    return [replace(made, notes=notes)]


def load(path: Path) -> dict[str, dict[str, list[str]]]:
    """Sentences by intent and part."""
    found: dict[str, dict[str, list[str]]] = {}
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["intent"], {}).setdefault(row["part"], []).append(row["text"])
    return found


def labelled(groups: list[list[str]]) -> tuple[AnyArray, Int64]:
    """Hashed sentences float32 (n, 1024), and the number of the group each is of."""
    x = hashed_text([sentence for group in groups for sentence in group], COLUMNS)
    return x, np.repeat(np.arange(len(groups)), [len(group) for group in groups])


def own_intents(axes: Any, truth: Int64, answers: dict[str, AnyArray]) -> None:
    """Accuracy on known and on own intents, round by round."""
    for colour, name in ((0, "frozen"), (1, "exact"), (4, "nearest mean")):
        for own, style in ((False, ":"), (True, "-")):
            right = [
                np.mean([answers[name][i] == truth[i] for i in part if (truth[i] >= KNOWN) == own])
                for part in np.array_split(np.arange(len(truth)), ROUNDS)
            ]
            label = f"{name}, {'own' if own else 'known'}"
            axes.plot(range(1, ROUNDS + 1), np.array(right) * 100, style, color=f"C{colour}", label=label)
    axes.set_xticks(range(0, ROUNDS + 1, 5))
    axes.set_xlabel("sentences of each intent so far")
    axes.set_ylabel("accuracy, %")
    axes.legend(fontsize=8, ncols=3)
