"""Images that drift: digits from another scanner, and from a camera that slowly tilts.

Without the data folder: the digits that scikit-learn brings, half of them trained on, before a camera that tilts.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from headway.arrays import AnyArray, Float32, Int64
from recipes.learning import compared, fitted_peer, follow, together
from recipes.measuring import Measured, drawn, measured
from recipes.naive import NearestMean
from recipes.networks import Workspace, dense, packaged
from recipes.peer import Peer

TITLE = "Images: another scanner, and a camera that tilts"
CREDIT = (
    "Data: MNIST (LeCun and Cortes, CC-BY-SA-3.0), scaled to 8 x 8; UCI 80 (CC-BY-4.0), Alpaydin, Kaynak: Optical "
    "Recognition of Handwritten Digits. The tilt is simulated, the pictures are real."
)
ONE_OF, TILT_DEGREES = 10, 45
TILTS = "A camera that tilts by 45 degrees"
Data = tuple[Float32, Int64]
Prototype = tuple[float, float] | None


def run(workspace: Workspace, seed: int) -> list[Measured]:
    try:
        data = np.load(workspace.file("image_digits_drift.npz"), allow_pickle=False)
    except FileNotFoundError:
        return packaged_digits(workspace, seed)
    train = scaled(data["train_x"]), data["train_y"].astype(np.int64)
    # the scanner's pictures come in any order, the tilting camera's as they were taken
    mixed = np.random.default_rng(seed).permutation(len(data["scanner_y"]))
    scanner = scaled(data["scanner_x"][mixed]), data["scanner_y"][mixed].astype(np.int64)
    tilting = scaled(data["tilt_x"]), data["tilt_y"].astype(np.int64)
    return streams(workspace, seed, "images", train, {
        "Digits from another scanner": (scanner, ((94.9, 95.2), (78.4, 78.4))),
        TILTS: (tilting, ((86.0, 86.8), (78.9, 78.9))),
    })  # fmt: skip


def packaged_digits(workspace: Workspace, seed: int) -> list[Measured]:
    """From scikit-learn alone. FileNotFoundError where it is not installed."""
    packaged("scikit-learn", "digits.csv.gz")
    from scipy.ndimage import rotate
    from sklearn.datasets import load_digits

    digits = load_digits()
    half = len(digits.target) // 2
    angles = np.linspace(0, TILT_DEGREES, len(digits.target) - half)
    tilted = np.stack([rotate(image, angle, reshape=False, order=1)
                       for image, angle in zip(digits.images[half:], angles, strict=True)])  # fmt: skip
    y = digits.target.astype(np.int64)
    later = scaled(tilted), y[half:]
    return streams(workspace, seed, "digits", (scaled(digits.images[:half]), y[:half]), {TILTS: (later, (None, None))})


def streams(workspace: Workspace, seed: int, name: str, train: Data,
            followed: Mapping[str, tuple[Data, tuple[Prototype, Prototype]]]) -> list[Measured]:  # fmt: skip
    """Each of `followed` with a label for every picture, and for one of ten."""
    network = partial(dense, *train, seed, (128,), epochs=20, standardise=False)
    bundle = workspace.bundle(name, seed, lambda: (network(), *train), expand=0)
    peer = together({"peer": lambda: fitted_peer(bundle, train, seed)})["peer"]  # once for all
    calls = {}
    for what, (later, prototypes) in followed.items():
        for every, prototype in zip((1, ONE_OF), prototypes, strict=True):
            labelled = np.arange(len(later[1])) % every == 0
            title = what if every == 1 else f"{what}, a label for one picture of {every}"
            calls[title] = partial(stream, title, bundle, train, later, seed, labelled, prototype, peer)
    return [*together(calls).values()]


def stream(title: str, bundle: Any, train: Data, later: Data, seed: int, labelled: AnyArray, prototype: Prototype,
           peer: Peer) -> Measured:  # fmt: skip
    answers = compared(bundle, train, later, seed, gradient=bool(labelled.all()), peer=peer, labelled=labelled)
    answers["nearest mean"] = follow(NearestMean(*later, 10), np.arange(len(later[1])), labelled=labelled)
    return measured(title, later[1], answers, naive="nearest mean", prototype=prototype,
                    picture=drawn(lambda axes: pictures(axes, train[0], later[0]), height=1.8))  # fmt: skip


def scaled(x: AnyArray) -> Float32:
    """0..1, each picture as bright as the next, float32 (n, 64)."""
    flat = x.reshape(len(x), -1).astype(np.float32)
    return np.asarray(flat / np.maximum(flat.max(axis=1, keepdims=True), 1), np.float32)


def pictures(axes: Any, before: Float32, after: Float32) -> None:
    """Above what the network was trained on, below what came, from the first to the last."""
    rows = np.linspace(0, len(after) - 1, 16).astype(int)
    lines = [
        np.concatenate([x[row].reshape(8, 8) for row in which], axis=1)
        for x, which in ((before, range(16)), (after, rows))
    ]
    axes.imshow(np.concatenate(lines), cmap="gray_r")
    axes.axis("off")
