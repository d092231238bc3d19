"""A stream as a life in phases: what is held back is never learned, and forgetting is seen where it happens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_agent.agent import Agent
from edge_agent.commands import replay
from edge_agent.commands.phases import HELD_EVERY, live
from edge_agent.config import SyncSettings
from edge_agent.labels.remembered import RememberedWindows
from edge_agent.learner.learner import HeadLearner
from edge_agent.learner_settings import LearnerSettings
from edge_agent.pipeline import Features
from edge_agent.sync.history import SyncState
from headway.arrays import Int64
from headway.errors import DataError
from headway.maths.recent_metrics import backward_transfer, forgetting
from tests.edge_agent.variants import IdentityRuntime, variant, windows


def agent() -> Agent:
    settings = LearnerSettings()
    learner = HeadLearner(variant(), settings)
    return Agent("test", learner, SyncSettings(), SyncState(epoch=0), windows=RememberedWindows(settings.horizon_rows))


def stream(count: int, drifts: tuple[float, ...]) -> tuple[Features, Int64]:
    parts = [windows(count, drift=drift, seed=seed) for seed, drift in enumerate(drifts)]
    x, y = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Features(x, variant().features.codes(x)[0]), y


def test_what_is_held_back_is_predicted_but_not_learned() -> None:
    features, y = stream(100, (0.0, 0.5, 1.0))
    y[::7] = -1
    subject = agent()
    lived = live(subject, features, y, None, 3)
    assert lived.held == pytest.approx((y >= 0).sum() / HELD_EVERY, abs=3)
    assert subject.learner.labels == (y >= 0).sum() - lived.held
    assert len(lived.answer.prediction) == len(lived.answer.probability) == len(lived.answer.served_by) == len(y)


def test_after_each_phase_every_phase_is_tested() -> None:
    """The same by hand: the labels that are left, up to the end of a phase, and then the rows held back."""
    features, y = stream(60, (0.0, 1.0))
    lived = live(agent(), features, y, None, 2)
    held = [np.arange(2, 60, HELD_EVERY), 60 + np.arange(2, 60, HELD_EVERY)]
    left = y.copy()
    left[np.concatenate(held)] = -1
    subject = agent()
    for phase, rows in enumerate((slice(0, 60), slice(60, 120))):
        subject.process(features.rows(rows.start, rows.stop), left[rows])
        for other in range(2):
            test = Features(features.embedding[held[other]], features.codes[held[other]])
            right = (subject.learner.predict(test).classes == y[held[other]]).mean()
            assert lived.accuracy[phase, other] == right
    summary = lived.summary()
    assert summary["forgetting"] == forgetting(lived.accuracy)
    assert summary["backward_transfer"] == backward_transfer(lived.accuracy)


def test_forgetting_shows_when_classes_change_places() -> None:
    features, y = stream(600, (0.0, 1.0))
    lived = live(agent(), features, y, None, 2)
    assert lived.accuracy[0, 0] > 0.95
    assert lived.accuracy[1, 1] > 0.9
    assert forgetting(lived.accuracy) > 0.3
    assert backward_transfer(lived.accuracy) < -0.3


def test_too_few_labels_are_refused() -> None:
    features, y = stream(10, (0.0,))
    with pytest.raises(DataError, match="10 labels are too few for 3 phases"):
        live(agent(), features, y, None, 3)


@pytest.mark.parametrize("phases", [0, 4])
def test_replay_writes_them(phases: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "open_runtime", lambda variant: IdentityRuntime())
    variant().write(tmp_path / "model.hwb")
    x, y = windows(120, drift=0.5)
    np.savez(tmp_path / "stream.npz", x=x, y=y)
    files = tmp_path / "model.hwb", tmp_path / "stream.npz", tmp_path / "out.npz"
    result = replay.replay_recording(*files, LearnerSettings(), phases)
    assert ("phases" in result) == (phases > 0)
    with np.load(tmp_path / "out.npz") as out:
        assert len(out["prediction"]) == 120
        assert ("phase_accuracy" in out.files) == (phases > 0)
        if phases:
            assert out["phase_accuracy"].shape == (4, 4)


def test_one_phase_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    variant().write(tmp_path / "model.hwb")
    x, y = windows(120)
    np.savez(tmp_path / "stream.npz", x=x, y=y)
    with pytest.raises(DataError, match="2 or more"):
        replay.replay_recording(
            tmp_path / "model.hwb", tmp_path / "stream.npz", tmp_path / "out.npz", LearnerSettings(), 1
        )
    assert not (tmp_path / "out.npz").exists()
