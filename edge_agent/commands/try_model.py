"""``edge-agent try``: a bundle's answers on live windows, before anything is installed; nothing is kept."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
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
from edge_agent.sources import build_cutter, open_source
from headway.arrays import Float32
from headway.bundle import Variant, read_variant
from headway.errors import ConfigError, DataError, ModelError
from headway.maths import Task
from headway.ports import Clock
from headway.samples import read_samples

STDIN = "-"
BAR_CHARACTERS = 20
# what is converted first; a folder may be a SavedModel
MODELS = (".keras", ".h5", ".onnx")


def trial_lines(
    model: Path, sensor: str, settings: SourceSettings, clock: Clock, count: int, data: Path | None = None
) -> Iterator[str]:
    """A line for the model, then one for each of at most `count` windows, as they come.

    sensor: a command that prints rows, ``-`` for stdin, or a spool file (.npz). settings: how its rows are read; kind
    and command follow from `sensor`. data: the training data of a model that is no bundle yet, for the converter.
    Raises ConfigError, BundleError, RuntimeUnavailableError, DataError, ModelError.
    """
    with tempfile.TemporaryDirectory(prefix="edge-agent-try-") as name:
        bundle = _converted(model, data, Path(name)) if model.suffix in MODELS or model.is_dir() else model
        variant = read_variant(bundle)
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
        raise DataError(f"{sensor!r} gave no window; is it the sensor, does --format say how it writes, and --rate how "
                        "often, where several rows come at once?")  # fmt: skip
    if given < count:
        yield f"{sensor} has ended"


def _converted(model: Path, data: Path | None, folder: Path) -> Path:
    """A bundle of the model, made by the converter, which is a program of its own. Raises ConfigError, ModelError."""
    if not model.exists():
        raise ConfigError(f"{model} does not exist; give a bundle (.hwb) or a model ({', '.join(MODELS)})")
    if data is None:
        raise ConfigError(f"{model} is a model, no bundle; give --data TRAINING.npz, and it is converted first")
    beside = Path(sys.executable).parent
    converter = shutil.which("edge-convert", path=f"{beside}:{os.environ.get('PATH', os.defpath)}")
    if converter is None:
        raise ConfigError(
            f"{model} is a model, no bundle, and edge-convert is not installed here; pip install 'headway[converter]', "
            f"or run edge-convert {model} --data {data} on another machine and try its bundle"
        )
    bundle = folder / "model.hwb"
    words = [converter, str(model), "--data", str(data), "--out", str(bundle)]
    done = subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode or not bundle.exists():
        said = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise ModelError(f"edge-convert cannot convert {model}: {said[-1] if said else 'it said nothing'}")
    return bundle


def _windows(variant: Variant, sensor: str, settings: SourceSettings, clock: Clock) -> Generator[Float32, None, None]:
    if sensor.endswith(".npz"):
        samples = read_samples(Path(sensor), variant.classes, task=variant.task)
        if not samples.has_windows:
            raise DataError(f"{sensor} has no windows; it needs x")
        yield from np.asarray(samples.x, np.float32)
        return
    if variant.stream is None:
        raise ConfigError(f"bundle {variant.name} does not say how windows are cut; convert it with --stream, or give "
                          "--sensor a file of windows (.npz)")  # fmt: skip
    source, settings = open_source(settings, variant, clock)
    cutter = build_cutter(settings, source, variant)
    for rows in source.rows():
        yield from cutter.windows(rows).values
        if cutter.lack:
            raise DataError(f"{sensor!r}: {cutter.lack.replace('source.rate_hz', '--rate HZ')}")


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
