"""Speech: thirty command words of a new speaker, who corrects the device; words of their own; and words as sound, whose
pictures the bundle makes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from headway.arrays import AnyArray, Float32, Int64
from headway.maths import LogMel
from recipes.learning import compared, each, together
from recipes.measuring import Measured, drawn, measured
from recipes.naive import NearestMean
from recipes.networks import Workspace, fitted

TITLE = "Speech: a new speaker, and words of one's own"
CREDIT = (
    "Data: Arabic Speech Commands (CC-BY-4.0), Ghandoura, Hjabo, Al Dakkak: Building and Benchmarking an Arabic Speech "
    "Commands Dataset for Small-Footprint Keyword Spotting, 2021; 30 of its words as log-mel pictures."
)
SPEAKERS_TRAINED, OWN = 20, 6
RATE_HZ, FRAME, HOP, BANDS, ENDS_HZ = 4000, 320, 160, 16, (60.0, 1900.0)  # 24 frames in a second
FRONT_END = {"front_end": "log-mel", "rate_hz": RATE_HZ, "frame": FRAME, "hop": HOP, "bands": BANDS,
             "low_hz": ENDS_HZ[0], "high_hz": ENDS_HZ[1], "scale": "standard"}  # fmt: skip


def run(workspace: Workspace, seed: int) -> list[Measured]:
    x, word, speaker, words = load(workspace.file("speech_commands_ar.npz"))
    its = word, speaker, words
    return [*together({
        "known": lambda: stream(workspace, seed, x, *its, 0),
        "own": lambda: stream(workspace, seed, x, *its, OWN),
        "sound": lambda: stream(workspace, seed, sounded(x), *its, 0, x),
    }).values()]  # fmt: skip


def load(path: Path) -> tuple[Float32, Int64, Int64, list[str]]:
    """Log-mel pictures float32 (n, 24, 16), the word, the speaker, the names of words."""
    data = np.load(path, allow_pickle=False)
    order = np.lexsort((data["rep"], data["speaker"]))  # each speaker says all words once, then once more
    x = ((data["x"][order].astype(np.float32) - 128) / 42).astype(np.float32)
    return x, data["word"][order].astype(np.int64), data["speaker"][order].astype(np.int64), data["words"].tolist()


def stream(
    workspace: Workspace, seed: int, x: Float32, word: Int64, speaker: Int64, words: list[str], own: int,
    pictures: Float32 | None = None,
) -> Measured:  # fmt: skip
    """Ten speakers, a device each. own: words, the last ones, that training never had. pictures: of x that is sound."""
    known = len(words) - own
    trained = (speaker < SPEAKERS_TRAINED) & (word < known)
    users = speaker >= SPEAKERS_TRAINED
    train, later = (x[trained], word[trained]), (x[users], word[users])
    name, front_end = (f"speech-{own}", {}) if pictures is None else ("speech-sound", FRONT_END)
    bundle = workspace.bundle(name, seed, lambda: (network(seen(train[0]), train[1], seed), *train), **front_end)
    streams = [np.flatnonzero(speaker[users] == one) for one in np.unique(speaker[users])]
    answers = compared(bundle, train, later, seed, streams, new_classes=own > 0, gradient=own == 0 and pictures is None)
    count = len(later[1])
    shown = later[0] if pictures is None else pictures[users]
    answers["nearest mean of own recordings"] = each(lambda: NearestMean(shown, later[1], len(words)), streams, count)
    along = np.concatenate([np.arange(len(rows)) for rows in streams])
    title = f"The same words, {own} of them the user's own" if own else "The same 30 words, new speakers"
    if pictures is not None:
        title = "The same words as sound, whose pictures the bundle makes"
        return measured(title, later[1], answers, naive="nearest mean of own recordings", along=along)
    return measured(title, later[1], answers, naive="nearest mean of own recordings", along=along,
                    prototype=(81.7, 83.0) if own else (86.7, 87.2),
                    picture=drawn(lambda axes: spoken(axes, x, word, words), height=2.6))  # fmt: skip


def sounded(pictures: Float32) -> Float32:
    """Sound that has these pictures, float32 (n, 4000): a tone in each band, as loud as the picture says.

    The data set holds pictures and no sound. So this is no voice; it is what the front end needs to be shown at work.
    """
    ends = 1127 * np.log1p(np.array(ENDS_HZ) / 700)
    tones = 700 * np.expm1(np.linspace(ends[0], ends[1], BANDS + 2)[1:-1] / 1127)
    time = np.arange(RATE_HZ)
    middle = HOP * np.arange(pictures.shape[1]) + FRAME / 2
    waves = np.sin(2 * np.pi * time[:, None] / RATE_HZ * tones + np.arange(BANDS)).astype(np.float32)
    at = np.clip((time - middle[0]) / HOP, 0, len(middle) - 1)
    before = np.minimum(at.astype(np.int64), len(middle) - 2)
    share = (at - before)[:, None].astype(np.float32)
    found = np.empty((len(pictures), RATE_HZ), np.float32)
    for row, picture in enumerate(0.01 * np.exp(pictures)):
        found[row] = ((picture[before] * (1 - share) + picture[before + 1] * share) * waves).sum(axis=1)
    return found


def seen(x: Float32) -> Float32:
    """What the network is given: of sound its log-mel pictures, each band scaled, as `edge-convert` will."""
    if x.ndim == 3:
        return x
    pictures = LogMel(RATE_HZ, FRAME, HOP, 512, BANDS, *ENDS_HZ).apply(x)
    return np.asarray((pictures - pictures.mean(axis=(0, 1))) / pictures.std(axis=(0, 1)), np.float32)


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
