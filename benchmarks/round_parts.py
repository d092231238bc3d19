"""What measurements of rounds share, of ours and of peers: the size of an update, its weights, time and memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

CLASSES, FEATURES = 10, 1280
SHAPE = (CLASSES, FEATURES + 1)
SAMPLES = 50
# updates of a round before the one that is measured
FEW = 20


def memory_kb(field: str) -> int:
    """A field of /proc/self/status in kB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1])
    raise RuntimeError(f"/proc/self/status has no {field}")


def resident_kb() -> int:
    """What the process holds now; `VmHWM` counts anew from here (proc(5), clear_refs)."""
    Path("/proc/self/clear_refs").write_text("5")
    return memory_kb("VmRSS")


def timed(run: Callable[[], object], before_kb: int) -> dict[str, float]:
    """Run it once."""
    wall, processor = time.perf_counter(), time.process_time()
    run()
    return {
        "seconds": time.perf_counter() - wall,
        "processor_s": time.process_time() - processor,
        "grown_mb": 1.024e-3 * (memory_kb("VmHWM") - before_kb),
    }


def delta(random: np.random.Generator) -> Any:
    """What a device sends: float32, of `SHAPE`."""
    return random.normal(0.01, 0.05, SHAPE).astype(np.float32)


def our_model() -> Any:
    """A bundle of as many features."""
    from headway_simulation.model import Model

    return Model(FEATURES, tuple(f"class-{index}" for index in range(CLASSES)))
