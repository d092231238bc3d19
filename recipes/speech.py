"""Speech: thirty command words of a new speaker, who corrects the device; and words of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from headway.arrays import AnyArray, Float32, Int64
from recipes.learning import compared, each
from recipes.measuring import Measured, drawn, measured
from recipes.naive import NearestMean
from recipes.networks import Workspace, fitted

TITLE = "Speech: a new speaker, and words of one's own"
CREDIT = (
    "Data: Arabic Speech Commands (CC-BY-4.0), Ghandoura, Hjabo, Al Dakkak: Building and Benchmarking an Arabic Speech "
    "Commands Dataset for Small-Footprint Keyword Spotting, 2021; 30 of its words as log-mel pictures."
)
SPEAKERS_TRAINED, OWN = 20, 6


def run(workspace: Workspace, seed: int) -> list[Measured]:
    x, word, speaker, words = load(workspace.file("speech_commands_ar.npz"))
    return [stream(workspace, seed, x, word, speaker, words, own) for own in (0, OWN)]


def load(path: Path) -> tuple[Float32, Int64, Int64, list[str]]:
    """Log-mel pictures float32 (n, 24, 16), the word, the speaker, the names of words."""
    data = np.load(path, allow_pickle=False)
    order = np.lexsort((data["rep"], data["speaker"]))  # each speaker says all words once, then once more
    x = ((data["x"][order].astype(np.float32) - 128) / 42).astype(np.float32)
    return x, data["word"][order].astype(np.int64), data["speaker"][order].astype(np.int64), data["words"].tolist()


def stream(
    workspace: Workspace, seed: int, x: Float32, word: Int64, speaker: Int64, words: list[str], own: int
) -> Measured:
    """Ten speakers, a device each. own: words that nobody said in training, the last ones."""
    known = len(words) - own
    trained = (speaker < SPEAKERS_TRAINED) & (word < known)
    users = speaker >= SPEAKERS_TRAINED
    train, later = (x[trained], word[trained]), (x[users], word[users])
    bundle = workspace.bundle(f"speech-{own}", seed, lambda: (network(train[0], train[1], seed), *train))
    streams = [np.flatnonzero(speaker[users] == one) for one in np.unique(speaker[users])]
    answers = compared(bundle, train, later, seed, streams, new_classes=own > 0, gradient=own == 0)
    count = len(later[1])
    answers["nearest mean of own recordings"] = each(lambda: NearestMean(*later, len(words)), streams, count)
    along = np.concatenate([np.arange(len(rows)) for rows in streams])
    title = f"The same words, {own} of them the user's own" if own else "The same 30 words, new speakers"
    return measured(title, later[1], answers, naive="nearest mean of own recordings", along=along,
                    prototype=(81.7, 83.0) if own else (86.7, 87.2),
                    picture=drawn(lambda axes: spoken(axes, x, word, words), height=2.6))  # fmt: skip


def network(x: AnyArray, y: Int64, seed: int) -> Any:
    """Convolutions along time over bands, as a keyword spotter has them."""
    import keras

    keras.utils.set_random_seed(seed)
    layers = keras.layers
    body = keras.Sequential([
        keras.Input(x.shape[1:]),
        layers.Conv1D(48, 5, padding="same", activation="relu"),
        layers.MaxPooling1D(2),
        layers.Conv1D(64, 3, padding="same", activation="relu"),
        layers.MaxPooling1D(2),
        layers.Dropout(0.3),
        layers.Flatten(),
        layers.Dense(96, activation="relu"),
        layers.Dropout(0.3),
    ])  # fmt: skip
    return fitted(body, y, x, 25)


def spoken(axes: Any, x: Float32, word: Int64, words: list[str]) -> None:
    """The first words of the first speaker."""
    rows = np.flatnonzero(word < len(words))[:8]
    axes.imshow(np.concatenate([x[row].T[::-1] for row in rows], axis=1), aspect="auto", cmap="viridis")
    axes.set_xticks(12 + 24 * np.arange(len(rows)), [words[int(word[row])] for row in rows])
    axes.set_yticks([])
    axes.set_ylabel("mel bands")
