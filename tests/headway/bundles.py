"""A small variant made by hand, and its golden bytes: python -m tests.headway.bundles writes the missing ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from headway.bundle.variant import Backbone, TrainingRows, Variant
from headway.maths.features import Expansion, FeatureMap
from headway.maths.head import Head, HeadInput, HeadKind
from headway.maths.preprocessing import Denoise, Missing, Preprocessing
from headway.maths.statistics import Statistics
from headway.maths.window_features import WindowFeatures

GOLDEN = Path(__file__).parents[1] / "golden" / "bundles"
# Ed25519 private key of the signed golden: RFC 8032, section 7.1, test 1. Public knowledge, for tests only.
PRIVATE_KEY = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
PUBLIC_KEY = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")


def small_variant(release: int = 3) -> Variant:
    """Three classes, a window of 2 x 2, an embedding of 3, one selected away, two random features of the input."""
    components = np.array([[1, 0], [0, 0], [0, 1]], np.float32)
    weights = np.array([[0.5, -0.5], [0.25, 0.0], [0.0, 1.0], [-1.0, 0.5]], np.float32)
    expansion = Expansion(weights, np.array([0.5, 0.25], np.float32), of_input=True)
    scale = np.array([2.0, 4.0, 1.0, 0.5], np.float32)
    features = FeatureMap(3, scale, expansion, np.zeros(3, np.float32), components)
    space = features.fingerprint("0" * 64)
    codes = np.array([[127, -3, 0, 1], [5, 0, 9, -127], [-127, 1, 2, 3], [4, 4, 4, 4]], np.int8)
    classes = ("idle", "walk", "laufen äöü")
    labels = np.array([0, 1, 2, 1], np.int64)
    windows = np.arange(8, dtype=np.float32).reshape(2, 2, 2) * np.float32(0.25)
    kernel = np.array([[0.5, -0.5, 0.25], [0.0, 1.0, -1.0], [2.0, 0.0, 0.125]], np.float32)
    return Variant(
        name="watch",
        version="1.4.0",
        release=release,
        backbones=(
            Backbone("backbone/float32.tflite", "tflite", "float32", True, b"\x1c\0\0\0TFL3 stands for a model",
                     {"ai-edge-litert": "1.0.1", "tflite-runtime": "2.3.0"}),
            Backbone("backbone/int8.onnx", "onnx", "int8", False, b"\x08\x08 stands for another", {}),
        ),
        head=Head(kernel, np.array([0.0, 0.5, -2.0], np.float32), HeadKind.SOFTMAX, classes, HeadInput.EMBEDDING),
        features=features,
        preprocessing=Preprocessing(
            (2, 2), np.array([0.5, 1.0], np.float32), np.zeros(2, np.float32), np.ones(2, np.float32),
            Missing.LAST, Denoise.EWMA, ewma_weight=0.75,
        ),
        training_statistics=Statistics.of(codes, labels, classes, space),
        probe_inputs=windows,
        probe_embedding=np.array([[1.0, 0.0, -1.0], [0.25, 0.5, 2.0]], np.float32),
        report={"samples": 4, "source_accuracy": 0.75},
        buffer=TrainingRows(codes[:2], labels=labels[:2]),
        evaluation=TrainingRows(windows, labels=np.array([2, 0], np.int64)),
        licence="CC0-1.0",
        provenance="made by hand",
    )  # fmt: skip


def featured_variant() -> Variant:
    """Without a backbone: the mean and the largest of two channels over two time steps are all there is."""
    scale = np.full(4, 2.0, np.float32)
    features = FeatureMap(4, scale)
    codes = np.array([[127, -3, 0, 1], [5, 0, 9, -127], [-127, 1, 2, 3], [4, 4, 4, 4]], np.int8)
    labels = np.array([0, 1, 2, 1], np.int64)
    made, whole = (
        Preprocessing((2, 2), np.zeros(2, np.float32), front_end=WindowFeatures(("mean", "max"))),
        small_variant(),
    )
    windows = np.arange(8, dtype=np.float32).reshape(2, 2, 2) * np.float32(0.25)
    return replace(
        whole,
        backbones=(),
        without_backbone=True,
        head=Head(np.eye(4, 3, dtype=np.float32), np.zeros(3, np.float32), HeadKind.SOFTMAX, whole.classes,
                  HeadInput.EMBEDDING),
        features=features,
        preprocessing=made,
        training_statistics=Statistics.of(codes, labels, whole.classes, features.fingerprint("none")),
        probe_inputs=windows,
        probe_embedding=made.apply(windows)[0],
        buffer=TrainingRows(codes[:2], labels=labels[:2]),
    )  # fmt: skip


def sign(manifest: bytes) -> bytes:
    """With the test key."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.from_private_bytes(PRIVATE_KEY).sign(manifest)


def golden_bundles() -> dict[str, bytes]:
    """Name -> bytes as the code writes them now."""
    return {
        "plain.hwb": small_variant().encode(),
        "signed.hwb": small_variant().encode(sign),
        "features.hwb": featured_variant().encode(),
    }


def main() -> None:
    GOLDEN.mkdir(parents=True, exist_ok=True)
    for name, payload in golden_bundles().items():
        if not (GOLDEN / name).exists():
            (GOLDEN / name).write_bytes(payload)


if __name__ == "__main__":
    main()
