"""Forgetting must not blow up: where features fall silent for long, weights and answers stay of their size.

Recursive least squares with a forgetting factor, which divides by it at every step, is run beside as the one that does.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from converter import Options
from converter.without_backbone import convert_data
from edge_agent.embed import Learner
from edge_agent.learner_settings import LearnerSettings
from headway.arrays import AnyArray, Float32
from headway.bundle.variant import Variant
from headway.maths import FeatureMap, Head, HeadInput, HeadKind, Preprocessing, Statistics, TargetCodes, Task
from tests.edge_agent.variants import IdentityRuntime, variant

WIDTH, FACTOR = 12, 0.99


def destinations(count: int, seed: int) -> tuple[Float32, Float32]:
    """Flights as the recipe sees them: a distance, and one of eleven destinations, some of which rest for long.

    x: float32 (n, 12); y: float32 (n, 1), minutes.
    """
    random = np.random.default_rng(seed)
    minutes = np.linspace(40, 360, WIDTH - 1)
    season = np.arange(count) * 4 // max(count, 1)
    place = np.where(random.random(count) < 0.003, random.integers(0, WIDTH - 1, count),
                     (random.integers(0, 3, count) + 3 * season) % (WIDTH - 1))  # fmt: skip
    x = np.zeros((count, WIDTH), np.float32)
    x[np.arange(count), place] = 1
    x[:, -1] = minutes[place] / 100
    wind = 8 * np.sin(np.arange(count) / 900)
    return x, (minutes[place] + wind + random.normal(0, 6, count)).astype(np.float32)[:, None]


def regression() -> Variant:
    """A bundle whose backbone gives its input, trained on flights of one season."""
    x, y = destinations(800, seed=1)
    features = FeatureMap(WIDTH, np.maximum(np.abs(x).max(axis=0), 0.1).astype(np.float32))
    targets = TargetCodes.fit(y, Task.REGRESSION)
    space = targets.space("f" * 64)
    kernel, *_ = np.linalg.lstsq(x, y, rcond=None)
    head = Head(kernel.astype(np.float32), np.zeros(1, np.float32), HeadKind.LINEAR, ("0",), HeadInput.EMBEDDING)
    codes, _ = features.codes(x)
    statistics: Statistics = targets.statistics(codes, y, space)
    return dataclasses.replace(
        variant(), head=head, features=features, training_statistics=statistics, targets=targets, buffer=None,
        evaluation=None, preprocessing=Preprocessing((WIDTH,), np.zeros(WIDTH, np.float32)), probe_inputs=x[:2],
        probe_embedding=x[:2],
    )  # fmt: skip


def forgetting(x: AnyArray, y: AnyArray) -> tuple[AnyArray, float]:
    """Answers of plain recursive least squares with a forgetting factor, and the largest entry of its covariance."""
    covariance, weights, answers = np.eye(WIDTH) * 100.0, np.zeros(WIDTH), []
    for row, truth in zip(x.astype(np.float64), y[:, 0], strict=True):
        answers.append(row @ weights)
        gain = covariance @ row / (FACTOR + row @ covariance @ row)
        weights = weights + gain * (truth - row @ weights)
        covariance = (covariance - np.outer(gain, row @ covariance)) / FACTOR
    return np.array(answers), float(np.abs(covariance).max())


@pytest.mark.parametrize("count", [3000, pytest.param(20_000, marks=pytest.mark.slow)])
def test_features_that_fall_silent_do_not_blow_up(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_agent.embed.open_runtime", lambda variant: IdentityRuntime())
    x, y = destinations(count, seed=2)
    learner = Learner(regression(), LearnerSettings())
    answers = []
    for start in range(0, count, 4):
        answers.append(learner.predict_proba(x[start : start + 4])[:, 0])
        learner.learn_many(x[start : start + 4], y[start : start + 4])
    error = np.abs(np.concatenate(answers) - y[:, 0])
    _, grown = forgetting(x, y)
    assert grown > 1e6  # the stress is real: this is what the plain rule makes of the same rows
    # noise of 6 minutes and wind of 8: a mean error of 5 to 7; no single answer is further off than a season's change
    assert np.isfinite(error).all()
    assert error.mean() < 10
    assert error.max() < 150
    assert np.percentile(error, 99.5) < 40
    assert learner.metrics["mae"] == pytest.approx(error.mean(), rel=0.1)


def constant(x: AnyArray) -> AnyArray:
    x[:, -2:] = 3.7
    return x


def collinear(x: AnyArray) -> AnyArray:
    x[:, -1], x[:, -2] = 2 * x[:, 0], x[:, 1] + 1e-6 * x[:, 2]
    return x


def jumping(x: AnyArray) -> AnyArray:
    x[len(x) // 2 :] *= 1000
    return x


@pytest.mark.parametrize(
    ("hard", "unit"),
    [(constant, 1.0), (collinear, 1.0), (jumping, 1.0), (np.asarray, 1e9), (np.asarray, 1e-9), (np.asarray, 1e25)],
)
def test_hard_inputs_and_units_neither_spoil_answers_nor_grow_the_state(
    hard: Callable[[AnyArray], AnyArray], unit: float, tmp_path: Path
) -> None:
    """Values change at row 200 of 400; what is learned stays finite, and is no worse than what was shipped."""
    random = np.random.default_rng(1)
    weights = random.normal(size=6)
    x = hard(random.normal(size=(800, 6))).astype(np.float32)
    if hard is jumping:
        x[:400] = random.normal(size=(400, 6))  # trained before the jump, which comes at row 0
    changed = np.where(np.arange(800)[:, None] < 600, weights, weights + np.where(np.arange(6) < 2, 1.5, 0))
    y = unit * ((x.astype(np.float64) * changed).sum(axis=1) + random.normal(0, 0.3, 800))
    convert_data((x[:400], y[:400, None]), Options(task="regression", expand=0), out=tmp_path / "b.hwb")
    learner, frozen = Learner.open(tmp_path / "b.hwb"), Learner.open(tmp_path / "b.hwb")
    own, shipped, sizes = [], [], []
    for start in range(400, 800, 8):
        part = slice(start, start + 8)
        own.append(np.abs(learner.predict_proba(x[part])[:, 0] - y[part]) / unit)
        shipped.append(np.abs(frozen.predict_proba(x[part])[:, 0] - y[part]) / unit)
        learner.learn_many(x[part], y[part, None])
        if start in (592, 792):
            learner.save(tmp_path / "state.bin")
            sizes.append((tmp_path / "state.bin").stat().st_size)
    assert np.isfinite(own).all()
    assert np.mean(own) < (1.05 if hard is jumping else 0.95) * np.mean(shipped)  # beyond the range nothing is learned
    assert max(np.mean(own[i : i + 8]) - np.mean(shipped[i : i + 8]) for i in range(42)) < 0.1 * np.mean(shipped)
    assert sizes[1] < 2 * sizes[0]
