"""The watch data: seven physiotherapy exercises, ten people, a smartwatch on either wrist, 50 Hz.

Source: Burns et al., "Shoulder physiotherapy exercise recognition", Physiol. Meas. 39 (2018), as shipped in the
seglearn package. Five people train the model; both wrists of the other five are the fleet.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from headway.arrays import Float32, Int64

WINDOW, HOP = 100, 50
TRAINING_PEOPLE = (1, 2, 3, 4, 5)
LABELS_PER_CLASS = 8
STAGES = (1, 3, 5, 8)


@dataclass(frozen=True, slots=True)
class Windows:
    """x: float32 (n, 100, 6); y: int64 (n,); position: int64 (n,), the window's index within its recording."""

    x: Float32
    y: Int64
    position: Int64

    def where(self, chosen: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Windows:
        return Windows(self.x[chosen], self.y[chosen], self.position[chosen])

    def round(self, number: int) -> Windows:
        """The `number`-th labelled window of each class, counted from 1."""
        return self.where(self.position == number - 1)

    def later(self) -> Windows:
        """Windows after the labelled ones; the one that overlaps the last labelled one is left out."""
        return self.where(self.position > LABELS_PER_CLASS)


def load() -> tuple[Windows, dict[str, Windows], tuple[str, ...]]:
    """Training windows, the windows of each unseen wrist by device id, and the class names."""
    from seglearn.datasets import load_watch

    data = load_watch()
    parts: dict[str, list[tuple[Float32, int, int]]] = {}
    training: list[tuple[Float32, int, int]] = []
    recordings = zip(data["X"], data["y"], data["subject"], data["side"], strict=True)
    for signal, label, person, side in recordings:
        starts = range(0, len(signal) - WINDOW + 1, HOP)
        windows = [(signal[s : s + WINDOW].astype(np.float32), int(label), i) for i, s in enumerate(starts)]
        if int(person) in TRAINING_PEOPLE:
            training += windows
        else:
            parts.setdefault(f"person{int(person):02d}-{('left', 'right')[int(side)]}", []).extend(windows)
    devices = {device: _stack(windows) for device, windows in sorted(parts.items())}
    return _stack(training), devices, tuple(str(name) for name in data["y_labels"])


def _stack(windows: list[tuple[Float32, int, int]]) -> Windows:
    x, y, position = zip(*windows, strict=True)
    return Windows(np.stack(x), np.array(y, np.int64), np.array(position, np.int64))
