"""What the front ends of sound and text take on a device: ``python -m benchmarks.front_end``.

Milliseconds for one window: a second of sound at 16 kHz, 40 bands, as the device's preprocessing does it; all features
of windows of 128 steps and 6 channels; and a sentence of eight words in 1,024 columns.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np

from headway.maths import LogMel, Preprocessing, WindowFeatures, hashed_text

ROUNDS = 200


def main() -> int:
    sound = np.random.default_rng(0).normal(0, 0.1, (1, 16_000)).astype(np.float32)
    window = np.random.default_rng(0).normal(0, 1, (1, 128, 6)).astype(np.float32)
    gap = np.zeros(16_000, np.float32)
    picture = Preprocessing((16_000,), gap, front_end=LogMel())
    cepstra = Preprocessing((16_000,), gap, front_end=LogMel(coefficients=13))
    features = Preprocessing((128, 6), gap[:6], front_end=WindowFeatures())
    sentence = "turn the lights on in the living room"
    front_ends: tuple[tuple[str, Callable[[], object]], ...] = (
        ("log-mel, 49 frames of 40 bands", lambda: picture.apply(sound)),
        ("MFCC, 13 of them", lambda: cepstra.apply(sound)),
        ("features, all 126 of 128 x 6", lambda: features.apply(window)),
        ("hashed text, 8 words", lambda: hashed_text([sentence])),
    )
    for name, work in front_ends:
        work()
        times_s = []
        for _ in range(ROUNDS):
            start_s = time.thread_time()
            work()
            times_s.append(time.thread_time() - start_s)
        print(f"{name:<34}{1e3 * np.median(times_s):8.2f} ms of one core (median of {ROUNDS})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
