"""A rollout judged by real devices: a planted bad bundle is halted, an equal one goes through, and nobody is asked."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_agent.runtime import ENGINES, Runtime
from headway.bundle.variant import Backbone, Variant
from testbed.broker import Broker
from tests.system.conftest import Device, wait_until
from tests.system.make_model import CLASSES, data
from tests.system.test_agent import expected, learned
from tests.system.test_delivery import fleet, release

__all__ = ["fleet"]  # a fixture

pytestmark = [pytest.mark.system, pytest.mark.broker]
SETTINGS = "[delivery]\ntrial_s = 0.2\nanswer_timeout_s = 2\n[trial]\nreport_interval_s = 0.1\n"
PLAN = """\
patience_s = 600
[[stages]]
share = 1.0
soak_s = 0
windows_min = 30
devices_min = 2
"""


def with_shuffled_weights(variant: Variant) -> Variant:
    """Every weight of the backbone in another place: a model that a broken export might have made. It says so itself
    nowhere: its probe windows, statistics and feature space are those of what it is."""
    old = next(backbone for backbone in variant.backbones if backbone.engine == "tflite")
    payload, random = old.payload, np.random.default_rng(1)
    for weights in _constants(old, variant):
        payload = payload.replace(weights.tobytes(), random.permutation(weights.ravel()).tobytes())
    assert payload != old.payload
    backbone = replace(old, payload=payload)
    runtime = _opened(backbone, variant)
    inputs, _ = variant.preprocessing.apply(variant.probe_inputs)
    x, y = data(400, seed=1)
    codes, _ = variant.features.codes(runtime.embed(variant.preprocessing.apply(x)[0]), None)
    space = variant.features.fingerprint("shuffled")
    return replace(
        variant,
        backbones=(backbone,),
        probe_embedding=runtime.embed(inputs),
        training_statistics=type(variant.training_statistics).of(codes, y, CLASSES, space),
        buffer=None,
    )


def _opened(backbone: Backbone, variant: Variant) -> Runtime:
    engine = next(engine for engine in ENGINES["tflite"] if engine.version() is not None)
    return engine.open(engine.module, backbone, variant.input_shape)


def _constants(backbone: Backbone, variant: Variant) -> list[np.ndarray]:
    """The weights of the backbone that stand in its file as they are, the larger ones."""
    interpreter = _opened(backbone, variant)._interpreter  # type: ignore[attr-defined]
    found = []
    for detail in interpreter.get_tensor_details():
        try:
            tensor = interpreter.get_tensor(detail["index"])
        except ValueError:
            continue  # an intermediate value
        if tensor.dtype == np.float32 and tensor.size > 12 and tensor.tobytes() in backbone.payload:
            found.append(tensor)
    return found


def test_a_bad_bundle_is_halted_and_an_equal_one_passes_without_anybody(
    new_device: Callable[..., Device],
    aggregator: Callable[[Broker], subprocess.Popen[bytes]],
    fresh_broker: Broker,
    bundle: Path,
    fleet: Callable[..., str],
    tmp_path: Path,
) -> None:
    aggregator(fresh_broker)
    devices = {name: new_device(name, fresh_broker, extra=SETTINGS) for name in ("pump", "valve")}
    for device in devices.values():
        device.start()
    x, y = data(80, seed=31)
    given: dict[str, list[int]] = {name: [] for name in devices}
    (tmp_path / "plan.toml").write_text(PLAN)

    database = tmp_path / "aggregator" / "aggregator.sqlite"

    def stored(query: str, *values: str) -> list[str]:
        """Polled many times, so not by the command, which takes half a second."""
        with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            return [str(row[0]) for row in connection.execute(query, values)]

    def states(name: str) -> set[str]:
        return set(stored("SELECT state FROM rollout_devices WHERE rollout = ?", name))

    def state(name: str) -> str:
        return stored("SELECT state FROM rollouts WHERE name = ?", name)[0]

    def feed(part: int) -> None:
        for name, device in devices.items():
            rows = slice(20 * part, 20 * part + 20)
            device.drop(f"{part}-windows", x=x[rows], id=np.array([f"{part}-{row}" for row in range(20)]))
            device.drop(f"{part}x-labels", y=y[rows], id=np.array([f"{part}-{row}" for row in range(20)]))
            given[name] += range(20 * part, 20 * part + 20)

    fleet("devices")  # waits for the store
    wait_until(lambda: stored("SELECT device FROM trials") == ["pump", "valve"], "both devices to be known")
    feed(0)
    for name, number, change, end in (
        ("bad", 2, with_shuffled_weights, "halted"),
        ("equal", 3, lambda variant: variant, "done"),
    ):
        words = ["rollout", "start", name, str(release(bundle, number, change)), "--plan", str(tmp_path / "plan.toml")]
        fleet(*words, process=name == "bad")
        wait_until(lambda name=name: states(name) == {"trying"}, "both devices to try it")  # type: ignore[misc]
        feed(number - 1)
        wait_until(lambda name=name, end=end: state(name) == end, f"{name} to be {end}")  # type: ignore[misc]
    assert "paired loss" in fleet("rollout", "show", "bad", process=True)
    assert states("bad") == {"waiting"}
    assert states("equal") == {"there"}
    for name, device in devices.items():
        assert device.stop() == 0
        assert learned(device, bundle) == expected(bundle, x[given[name]], y[given[name]])
