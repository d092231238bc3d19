"""``edge-agent try``: a bundle's answers on live windows, before anything is installed; nothing is kept."""

from __future__ import annotations

import shlex
from collections.abc import Generator, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path

import numpy as np

from edge_agent.learner import HeadLearner
from edge_agent.learner_settings import LearnerSettings
from edge_agent.pipeline import Pipeline
from edge_agent.runtime import open_runtime
from edge_agent.source_settings import SourceSettings
from edge_agent.sources import source_factory
from headway.arrays import Float32
from headway.bundle import Variant, read_variant
from headway.errors import ConfigError, DataError
from headway.maths import Task
from headway.ports import Clock
from headway.samples import read_samples
from headway.windower import Windower, shaped

STDIN = "-"
BAR_CHARACTERS = 20


def trial_lines(model: Path, sensor: str, settings: SourceSettings, clock: Clock, count: int) -> Iterator[str]:
    """A line for the model, then one for each of at most `count` windows, as they come.

    sensor: a command that prints rows, ``-`` for stdin, or a spool file (.npz). settings: how its rows are read; kind
    and command follow from `sensor`. Raises ConfigError, BundleError, RuntimeUnavailableError, DataError.
    """
    if model.suffix in (".keras", ".h5"):
        raise ConfigError(f"{model} is a model, no bundle; make one with edge-convert {model} --data TRAINING.npz")
    variant = read_variant(model)
    pipeline = Pipeline(variant, open_runtime(variant))
    yield f"{variant.name} {variant.version} on {pipeline.runtime_name}; classes: {', '.join(variant.classes)}"
    learner, given = HeadLearner(variant, LearnerSettings()), 0
    with closing(_windows(variant, sensor, settings, clock)) as windows:
        for window in islice(windows, count):
            given += 1
            begin_s = clock.monotonic_s()
            outputs = learner.predict(pipeline.features(window[None])).probability[0]
            yield f"{given:>3}  {_answer(variant, outputs)}  {(clock.monotonic_s() - begin_s) * 1e3:6.1f} ms"
    if not given:
        raise DataError(f"{sensor!r} gave no window; is it the sensor, and does --format say how it writes?")
    if given < count:
        yield f"{sensor} has ended"


def _windows(variant: Variant, sensor: str, settings: SourceSettings, clock: Clock) -> Generator[Float32, None, None]:
    if sensor.endswith(".npz"):
        samples = read_samples(Path(sensor), variant.classes, task=variant.task)
        if not samples.has_windows:
            raise DataError(f"{sensor} has no windows; it needs x")
        yield from np.asarray(samples.x, np.float32)
        return
    stream = variant.stream
    if stream is None:
        raise ConfigError(f"bundle {variant.name} does not say how windows are cut; convert it with --stream, or give "
                          "--sensor a file of windows (.npz)")  # fmt: skip
    source = source_factory(settings.kind)(settings, stream, clock)
    arrangement, windower = stream.arrangement(source.channels, source.units), Windower(stream)
    for rows in source.rows():
        found = windower.push(rows.times_s, arrangement.apply(rows.values))
        yield from shaped(found.values, variant.input_shape, variant.preprocessing.time_axis)


def settings_of(sensor: str, **given: object) -> SourceSettings:
    """How rows come from `sensor`. Raises ConfigError."""
    if sensor == STDIN:
        return SourceSettings(kind="stdin", **given)  # type: ignore[arg-type]
    try:
        return SourceSettings(kind="command", command=tuple(shlex.split(sensor)), **given)  # type: ignore[arg-type]
    except ValueError as error:
        raise ConfigError(f"--sensor {sensor!r}: {error}") from error


def _answer(variant: Variant, outputs: Float32) -> str:
    if variant.task is not Task.CLASSIFICATION:
        return "  ".join(f"{name} {value:.3f}" for name, value in zip(variant.classes, outputs, strict=True))
    best = int(outputs.argmax())
    bar = "#" * round(float(outputs[best]) * BAR_CHARACTERS)
    return f"{variant.classes[best]:<16} {float(outputs[best]):5.3f} {bar:<{BAR_CHARACTERS}}"
