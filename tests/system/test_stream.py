"""Raw rows from a command into a real agent: cut, answered and learned as in training."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from edge_agent.pipeline import Pipeline
from edge_agent.runtime import open_runtime
from headway.bundle.variant import read_variant
from headway.stream import Channel, StreamFormat
from headway.windower import cut_windows
from tests.system.conftest import BIN, Device, make_bundle, wait_until
from tests.system.make_model import CLASSES, data
from tests.system.test_agent import status

pytestmark = pytest.mark.system
NewDevice = Callable[..., Device]
STREAM = StreamFormat(tuple(Channel(name, "m/s2") for name in "xyz"), rate_hz=50.0, length=20, hop=10, gap_s=0.2)


def recording(windows: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of jittered times with one gap, and values in g, x, y, z."""
    x, _ = data(windows, seed=5)
    values = x.reshape(-1, 3).astype(np.float64) / 9.80665
    times = 1.7e9 + np.arange(len(values)) / 47.0 + np.random.default_rng(1).uniform(0, 0.01, len(values))
    times[len(times) // 2 :] += 5.0
    return times, values


def answered(device: Device) -> dict[str, np.ndarray]:
    parts = [np.load(path) for path in sorted((device.folder / "predictions").glob("shaker-*.npz"))]
    return {name: np.concatenate([part[name] for part in parts]) for name in ("id", "probability")} if parts else {}


def test_windows_of_a_command_are_answered_as_in_training_and_labelled_later(
    new_device: NewDevice, bundle: Path, tmp_path: Path
) -> None:
    own = tmp_path / "stream.hwb"
    replace(read_variant(bundle), stream=STREAM).write(own)
    times, values = recording(12)
    rows = tmp_path / "rows.csv"
    # the columns in another order than the bundle's
    table = np.column_stack([values[:, 2], times, values[:, 0], values[:, 1]])
    rows.write_text("z,time,x,y\n" + "".join(",".join(map(repr, row)) + "\n" for row in table.tolist()))
    command = json.dumps(["sh", "-c", f"cat {rows}; exec sleep 600"])
    source = f'[source]\nname = "shaker"\ncommand = {command}\nchannels = ["z", "time", "x", "y"]\n'
    device = new_device(extra=source + 'units = ["g", "", "g", "g"]\ntime = "time"\n')
    device.config.write_text(device.config.read_text().replace(str(bundle), str(own)))

    expected = cut_windows(times, values, STREAM, ("x", "y", "z"), ("g", "g", "g"))
    device.start()
    assert device.process is not None
    wait_until(
        lambda: device.process.poll() is not None or len(answered(device).get("id", ())) == len(expected.values),
        "an answer to every window",
    )
    found = answered(device)
    variant = read_variant(own)
    head = variant.frozen_head.probabilities(
        Pipeline(variant, open_runtime(variant)).features(expected.values).embedding
    )
    assert_array_equal(found["probability"], head)
    assert len(set(found["id"].tolist())) == len(expected.values)
    assert found["id"][0].startswith("shaker-20231114T")

    device.drop("labels", id=found["id"][:3], y=np.array(CLASSES)[[0, 1, 2]])

    wait_until(lambda: status(device)["labels"] == 3, "three labels that came later")
    assert device.stop() == 0


@pytest.mark.slow
def test_a_model_that_is_converted_with_its_stream_takes_recordings(new_device: NewDevice, tmp_path: Path) -> None:
    """The whole way: edge-convert --stream, a recording in the spool, its windows' answers."""
    recipe = tmp_path / "stream.toml"
    channels = "".join(f'[[channels]]\nname = "{name}"\nunit = "m/s2"\n' for name in "xyz")
    recipe.write_text(f"rate_hz = 50.0\nlength = 20\nhop = 10\ngap_s = 0.2\n{channels}")
    (tmp_path / "model").mkdir()
    bundle = make_bundle(tmp_path / "model", "--stream", str(recipe))
    variant = read_variant(bundle)
    assert variant.stream == STREAM
    times, values = recording(6)
    device = new_device(extra="")
    device.config.write_text(
        re.sub('path = ".*"', f'path = "{bundle}"', device.config.read_text()).replace(
            "[sensor]", "[sensor]\nsettle_s=0"
        )
    )
    (device.folder / "spool").mkdir()
    table = np.column_stack([times, values * 9.80665])
    lines = "".join(",".join(map(repr, row)) + "\n" for row in table.tolist())
    (device.folder / "spool" / "take.csv").write_text("time,x,y,z\n" + lines)
    done = device.once()
    assert done.returncode == 0, done.stderr
    windows = cut_windows(times, values * 9.80665, STREAM)
    expected = variant.frozen_head.probabilities(
        Pipeline(variant, open_runtime(variant)).features(windows.values).embedding
    )
    with np.load(device.folder / "predictions" / "take.csv.npz") as found:
        assert_array_equal(found["probability"], expected)
        assert found["id"].tolist() == [f"take-{start_s:.6f}" for start_s in windows.starts_s]
    recipe.write_text(recipe.read_text().replace("length = 20", "length = 21"))
    refused = subprocess.run(
        [str(BIN / "edge-convert"), str(tmp_path / "model" / "tiny.keras"), "--data",
         str(tmp_path / "model" / "train.npz"), "--out", str(tmp_path / "b.hwb"), "--stream", str(recipe)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert refused.returncode != 0
    assert "21 time steps and 3 channels do not fit an input (20, 3)" in refused.stderr
    assert not (tmp_path / "b.hwb").exists()


def test_a_bundle_without_a_stream_says_what_is_missing(new_device: NewDevice) -> None:
    done = new_device(extra='[source]\nkind = "stdin"\n').once()
    assert done.returncode == 2
    assert "convert the model with --stream" in done.stderr
