"""What asking for labels costs a device: bytes of a list, how often it changes, and the time of a look.

    python -m benchmarks.labels_wanted [--windows 4096] [--size 321]

Windows come one by one to a device that remembers 1,024 of them, and every hundredth is labelled; after each the list
is looked at. Bytes a day are those of lists that change all the time, at the default pace; beside them one report of
whole statistics of the same device.
"""

from __future__ import annotations

import argparse
import random
import time

import numpy as np

from benchmarks.interpreters import machine
from edge_agent.labels import Labelling, RememberedWindows
from edge_agent.labels_wanted_settings import LabelsWantedSettings
from edge_agent.learner import CorrectLabel, HeadLearner, LearnLabel, apply
from edge_agent.learner_settings import LearnerSettings
from edge_agent.news import WISHES_AT_ONCE_MAX
from headway.arrays import Float32
from headway.samples import UNLABELLED
from headway.wire import StatisticsReport
from headway_simulation.model import Model

CLASSES = tuple(f"class-{number}" for number in range(7))
LABELLED_EVERY = 100
DAY_S = 86_400.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--windows", type=int, default=4096)
    parser.add_argument("--size", type=int, default=321)
    options = parser.parse_args()
    print(machine())
    for sketches in (False, True):
        measure(options.windows, options.size, sketches)


def measure(count: int, size: int, sketches: bool) -> None:
    """One device, from its first window on."""
    model = Model(size, CLASSES)
    settings = LabelsWantedSettings(send_windows=sketches)
    learner = HeadLearner(model.variant, LearnerSettings())
    windows = RememberedWindows(learner.settings.horizon_rows)
    labelling = Labelling(learner, windows, asking=settings)
    x, labels = model.windows(count, random.Random(1), drift=0.6)
    generator = np.random.default_rng(1)
    sizes, looks_s, changes, before = list[int](), list[float](), 0, b""
    for at in range(count):
        features = model.pipeline.features(x[at : at + 1])
        label = int(labels[at]) if at % LABELLED_EVERY == 0 else UNLABELLED
        for operation in labelling.take(features, label, [f"w-{at}"], learner.predict(features)):
            assert isinstance(operation, LearnLabel | CorrectLabel)
            apply(learner, operation)
        labelling.wanted.see([f"w-{at}"], _signal(generator), 1.75e9 + at)
        began_s = time.perf_counter()
        message = labelling.wanted.message()
        looks_s.append(time.perf_counter() - began_s)
        payload = b"" if message is None else message.encode()
        if at >= windows.rows_max:
            sizes.append(len(payload))
            changes += payload != before
        before = payload
    mean = float(np.mean(sizes))
    a_day = (DAY_S / settings.interval_s + WISHES_AT_ONCE_MAX) * mean
    whole = len(StatisticsReport("pump-7", 1, 1, learner.trainer.statistics).encode())  # type: ignore[arg-type]
    name = f"with sketches of {settings.sketch_bytes} bytes" if sketches else "without sketches"
    print(
        f"{name}: a list of {settings.windows_max} has {mean:,.0f} bytes, at most {a_day / 1000:,.0f} kB a day; "
        f"{100 * changes / len(sizes):.1f} % of new windows change it; a look takes {1000 * np.median(looks_s):.2f} ms "
        f"in the median, {1000 * np.quantile(looks_s, 0.99):.2f} ms at p99; whole statistics have {whole:,} bytes"
    )


def _signal(generator: np.random.Generator) -> Float32:
    """Two seconds of three axes."""
    return generator.normal(size=(1, 200, 3)).astype(np.float32)


if __name__ == "__main__":
    main()
