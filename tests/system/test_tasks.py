"""A Keras model with several outputs, converted, replayed and served by the real programs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from converter.convert import convert
from converter.features.data import training_data
from headway.maths.task import Task

pytestmark = [pytest.mark.system, pytest.mark.slow]
OUTPUTS = ("heater", "fan")


def room(count: int, seed: int, task: Task, *, drifted: bool) -> tuple[np.ndarray, np.ndarray]:
    """Windows (n, 16, 2) and what depends on their means; the dependence turns when the room has changed."""
    random = np.random.default_rng(seed)
    level = random.normal(size=(count, 2))
    x = (level[:, None] + random.normal(0, 0.3, (count, 16, 2))).astype(np.float32)
    mixed = level @ np.array([[1.0, 0.8], [-0.8, 1.0]] if drifted else [[1.0, 0.0], [0.0, 1.0]])
    y = (mixed > 0) if task is Task.MULTI_LABEL else mixed * [1.0, 250.0]
    return x, y.astype(np.float32)


def bundle(folder: Path, task: Task) -> Path:
    import keras

    keras.utils.set_random_seed(1)
    x, y = room(600, 1, task, drifted=False)
    model = keras.Sequential(
        [
            keras.Input((16, 2)),
            keras.layers.Conv1D(8, 3, activation="relu"),
            keras.layers.GlobalAveragePooling1D(),
            keras.layers.Dense(16, activation="tanh"),
            keras.layers.Dense(2, activation="sigmoid" if task is Task.MULTI_LABEL else None),
        ]
    )
    model.compile(keras.optimizers.Adam(0.01), "binary_crossentropy" if task is Task.MULTI_LABEL else "mse")
    model.fit(x, y, epochs=20, verbose=0)
    convert(model, training_data(x, y, OUTPUTS), out=folder / "room.hwb")
    return folder / "room.hwb"


def program(*arguments: str) -> str:
    result = subprocess.run(
        [sys.executable, "-m", "edge_agent.cli", *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize("task", [Task.MULTI_LABEL, Task.REGRESSION])
def test_from_a_keras_model_to_learned_answers(task: Task, tmp_path: Path) -> None:
    converted = bundle(tmp_path, task)
    x, y = room(300, 2, task, drifted=True)
    y[::4, 0] = np.nan
    np.savez(tmp_path / "stream.npz", x=x, y=y)
    replayed = json.loads(
        program("replay", str(converted), str(tmp_path / "stream.npz"), "--out", str(tmp_path / "out.npz"))
    )
    measure = "label_accuracy" if task is Task.MULTI_LABEL else "r2"
    assert replayed["task"] == str(task)
    assert replayed["recent"][measure] > replayed["frozen"][measure] + 0.05
    assert replayed["serving"] == "exact"

    spool = tmp_path / "spool"
    spool.mkdir()
    np.savez(spool / "a.npz", x=x[:150], y=y[:150])
    np.savez(spool / "b.npz", x=x[150:], id=np.arange(150))
    (tmp_path / "agent.toml").write_text(
        f'[device]\nid = "room-1"\n[bundle]\npath = "{converted}"\n[storage]\nstate_dir = "state"\n'
        "[sensor]\npoll_interval_s = 0.05\n"
    )
    program("run", "--once", str(tmp_path / "agent.toml"))
    np.savez(spool / "late.npz", id=np.arange(150), y=y[150:])
    program("run", "--once", str(tmp_path / "agent.toml"))
    status = json.loads(program("status", "--json", str(tmp_path / "agent.toml")))
    assert (status["task"], status["learner"], status["labels"]) == (str(task), "exact", 300)
    assert status["served"]["samples"] == 300
    with np.load(tmp_path / "predictions" / "a.npz") as answer:
        assert answer["prediction"].shape == (150, 2)
