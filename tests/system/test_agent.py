"""The agent as a process: what a user does, and what a power cut does."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from edge_agent.learner.exact.trainer import ExactTrainer
from edge_agent.learner.learner import HeadLearner
from edge_agent.learner_settings import LearnerSettings
from edge_agent.pipeline import Pipeline
from edge_agent.runtime import open_runtime
from edge_agent.startup.restore import restore_learner
from edge_agent.store.store import SQLiteStore
from headway.bundle.variant import read_variant
from headway.maths.statistics import Statistics
from tests.arrays import assert_close, assert_same
from tests.headway.bundles import PUBLIC_KEY, sign
from tests.nightly import nightly
from tests.system.commands import output_of
from tests.system.conftest import BIN, Device, wait_until
from tests.system.make_model import CLASSES, data

pytestmark = pytest.mark.system
NewDevice = Callable[..., Device]


def status(device: Device, *, process: bool = False) -> dict[str, object]:
    """What ``edge-agent status`` says. process: as a process of its own."""
    found: dict[str, object] = json.loads(output_of("edge-agent", "status", device.config, "--json", process=process))
    return found


def learned(device: Device, bundle: Path) -> Statistics:
    """What the device's store holds after its last commit."""
    learner = HeadLearner(read_variant(bundle), LearnerSettings())
    restore_learner(SQLiteStore(device.folder / "state" / "agent.sqlite", read_only=True), learner)
    assert isinstance(learner.trainer, ExactTrainer)
    return learner.trainer.statistics


def expected(bundle: Path, x: np.ndarray, y: np.ndarray) -> Statistics:
    variant = read_variant(bundle)
    codes = Pipeline(variant, open_runtime(variant)).features(x).codes
    return Statistics.of(codes[y >= 0], y[y >= 0], CLASSES, variant.space)


def test_once_takes_in_the_spool_answers_and_leaves(new_device: NewDevice, bundle: Path) -> None:
    device = new_device()
    x, y = data(12, seed=4)
    y[5] = -1
    device.drop("a", x=x, y=y)
    device.drop("b", x=x)
    result = device.once()
    assert result.returncode == 0, result.stderr
    with np.load(device.folder / "predictions" / "a.npz") as answer:
        assert answer["prediction"].shape == (12,)
        assert answer["probability"].shape == (12, 4)
        assert_close(answer["probability"].sum(axis=1), 1, atol=1e-5)
        assert answer["served_by"].shape == (12,)
        assert_array_equal(answer["source"], answer["served_by"], err_msg="the old name, for one release")
    found = status(device, process=True)
    assert found == status(device)
    assert (found["labels"], found["files_consumed"], found["running"]) == (11, 2, False)
    assert learned(device, bundle) == expected(bundle, x, y)
    assert sorted(p.name for p in (device.folder / "spool").iterdir()) == ["claimed", "rejected"]


def test_bad_files_are_rejected_beside_a_reason(new_device: NewDevice) -> None:
    device = new_device()
    x, y = data(4, seed=4)
    device.drop("shape", x=x[:, :5], y=y)
    device.drop("label", x=x, y=y + 9)
    device.drop("good", x=x, y=y)
    (device.folder / "spool" / "text.npz").write_text("not an archive")
    assert device.once().returncode == 0
    rejected = device.folder / "spool" / "rejected"
    reasons = {path.name: path.read_text() for path in rejected.glob("*.reason")}
    assert reasons["shape.npz.reason"].startswith("samples have shape (5, 3), the model takes (20, 3)")
    assert "label 9 of sample 0 is outside -1..3" in reasons["label.npz.reason"]
    assert "not a readable .npz file" in reasons["text.npz.reason"]
    assert all(text.count("\n") == 1 for text in reasons.values())
    assert status(device)["labels"] == 4


def test_labels_may_come_in_a_file_of_their_own(new_device: NewDevice, bundle: Path) -> None:
    device = new_device()
    x, y = data(12, seed=4)
    names = np.array([f"w{i}" for i in range(12)])
    device.drop("windows", x=x, id=names)
    assert device.once().returncode == 0
    device.drop("labels", id=names[::-1].copy(), y=y[::-1].copy())
    result = device.once()
    assert "labels learned 12" in result.stderr
    assert learned(device, bundle) == expected(bundle, x, y)
    device.drop("corrections", id=np.array(["w3", "nobody"]), y=np.array([(y[3] + 1) % 4, 0]))
    result = device.once()
    assert "corrected 1" in result.stderr
    assert "1 labels are for windows this device does not remember" in result.stderr
    y[3] = (y[3] + 1) % 4
    assert learned(device, bundle) == expected(bundle, x, y)


@pytest.mark.parametrize("seed", [0, *map(nightly, range(1, 6))])
def test_killed_at_random_it_loses_and_repeats_nothing(new_device: NewDevice, bundle: Path, seed: int) -> None:
    device = new_device()
    chance = random.Random(seed)
    x, y = data(160, seed=5)
    for part in range(40):
        device.drop(f"f{part:02d}", x=x[part * 4 : part * 4 + 4], y=y[part * 4 : part * 4 + 4])
    kills = 0
    while len(device.answers()) < 40:
        device.start()
        # die right after an answer was written: before its commit, or before its file was cleared away
        target = min(40, len(device.answers()) + chance.randint(1, 12))
        wait_until(lambda target=target: len(device.answers()) >= target, f"{target} answers")  # type: ignore[misc]
        device.kill()
        kills += 1
    result = device.once()
    assert result.returncode == 0, result.stderr
    assert kills >= 3
    assert learned(device, bundle) == expected(bundle, x, y)
    assert status(device)["labels"] == 160
    assert list((device.folder / "spool" / "claimed").iterdir()) == []


def test_sigterm_is_a_clean_end(new_device: NewDevice) -> None:
    device = new_device()
    x, y = data(4, seed=4)
    device.drop("a", x=x, y=y)
    device.start()
    wait_until(lambda: device.answers() == {"a"}, "an answer")
    assert device.stop() == 0
    assert status(device)["labels"] == 4


def test_two_agents_cannot_share_a_state_folder(new_device: NewDevice) -> None:
    device = new_device()
    x, _ = data(4, seed=4)
    device.drop("a", x=x)
    device.start()
    wait_until(lambda: device.answers() == {"a"}, "an answer")
    assert status(device, process=True)["running"] is True
    wait_until(lambda: str(status(device)["condition"]) == "good: frozen serves", "its condition")
    second = device.once()
    assert second.returncode == 2
    assert second.stderr.startswith("error: another agent is using")


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        (("tiny.hwb", "none.hwb"), 5, "cannot read bundle"),
        (("[storage]", "[store]"), 2, "state_dir"),
        (('id = "pump"', 'id = "_pump"'), 2, "device id '_pump'"),
    ],
)
def test_start_up_errors_are_one_line_with_a_code(
    new_device: NewDevice, change: tuple[str, str], code: int, message: str
) -> None:
    device = new_device()
    device.config.write_text(device.config.read_text().replace(*change))
    result = device.once()
    errors = [line for line in result.stderr.splitlines() if line.startswith("error:")]
    assert result.returncode == code
    assert len(errors) == 1
    assert message in errors[0]


def test_replay_drives_the_same_loop(tmp_path: Path, bundle: Path, new_device: NewDevice) -> None:
    """What replay predicts for a stream is what the service answers for the same stream in its spool, in one file: the
    labels of smaller ones are learned after their answers."""
    x, y = data(60, seed=6)
    x = x[:, :, ::-1].copy()  # sensor mounted the other way round, so that there is something to learn
    y[40:] = -1
    np.savez(tmp_path / "stream.npz", x=x, y=y)
    command = [str(BIN / "edge-agent"), "replay", str(bundle), str(tmp_path / "stream.npz")]
    result = subprocess.run([*command, "--out", str(tmp_path / "r.npz")], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["labels"] == 40
    device = new_device()
    device.drop("stream", x=x, y=y)
    assert device.once().returncode == 0
    answered = np.load(device.folder / "predictions" / "stream.npz")
    with np.load(tmp_path / "r.npz") as replayed:
        for name in ("prediction", "probability", "served_by"):
            assert_same(replayed[name], answered[name], where=name)


def test_replay_names_what_is_wrong(tmp_path: Path, bundle: Path) -> None:
    np.savez(tmp_path / "stream.npz", x=np.zeros((3, 20, 3), np.float32))
    command = [str(BIN / "edge-agent"), "replay", str(bundle), str(tmp_path / "stream.npz"), "--out"]
    result = subprocess.run([*command, str(tmp_path / "r.npz")], capture_output=True, text=True, timeout=60)
    assert result.returncode == 3
    assert "needs x and y" in result.stderr
    assert not (tmp_path / "r.npz").exists()


def test_releases_are_signed_and_only_go_forward(new_device: NewDevice, bundle: Path) -> None:
    device, variant = new_device(), read_variant(bundle)
    own, key = device.folder / "m.hwb", device.folder / "fleet.pub"
    key.write_text(f"headway-ed25519 {PUBLIC_KEY.hex()}\n")
    settings = device.config.read_text().replace(f'path = "{bundle}"', f'path = "{own}"\npublic_key = "{key}"')
    device.config.write_text(settings)
    for release, signer, code, said in (
        (5, sign, 0, "ready"),
        (5, None, 5, "error: "),
        (4, sign, 5, "release 4 is older than 5, which was already accepted"),
        (6, sign, 0, "ready"),
    ):
        replace(variant, release=release).write(own, signer)
        result = device.once()
        assert result.returncode == code, result.stderr
        assert said in result.stderr
