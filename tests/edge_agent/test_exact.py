"""The exact trainer: fresh after every label, the same bits after a restart, fewer solves as labels grow."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from edge_agent.learner.exact import experts, recipes
from edge_agent.learner.exact.settings import RETIRED, ExactSettings, Recipe
from edge_agent.learner.exact.trainer import CANDIDATE, ExactTrainer
from headway.errors import ConfigError
from headway.fields import Fields
from headway.maths.statistics import Statistics

CLASSES = ("a", "b", "c")
SIZE = 12
SETTINGS = ExactSettings()
FEW_LABELS, SMALL = SETTINGS.few_labels, SETTINGS.small_features


def labelled(count: int, seed: int, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, count)
    centres = np.random.default_rng(0).normal(0, 30, (3, SIZE)) + shift
    codes = np.clip(np.rint(centres[labels] + random.normal(0, 15, (count, SIZE))), -127, 127).astype(np.int8)
    return codes, labels


def trainer(settings: ExactSettings = SETTINGS) -> ExactTrainer:
    codes, labels = labelled(300, seed=1)
    return ExactTrainer(Statistics.of(codes, labels, CLASSES, "s"), settings)


def teach(learner: ExactTrainer, codes: np.ndarray, labels: np.ndarray) -> None:
    for row in range(len(labels)):
        learner.candidates()  # as the loop does: every window is predicted before its label is learned
        learner.learn(codes[row : row + 1], labels[row : row + 1])
        learner.leave_one_out()


@pytest.mark.parametrize("count", [3, 60, FEW_LABELS + 5, 700])
def test_a_restart_goes_on_with_the_same_bits(count: int) -> None:
    codes, labels = labelled(count + 40, seed=2, shift=20.0)
    first, second = trainer(), trainer()
    teach(first, codes[:count], labels[:count])
    tensors, values = first.state()
    second.restore(tensors, Fields(values, "saved", ConfigError))
    for learner in (first, second):
        teach(learner, codes[count:], labels[count:])
    one, other = first.candidates()[CANDIDATE], second.candidates()[CANDIDATE]
    assert_array_equal(one.kernel, other.kernel)
    assert_array_equal(one.bias, other.bias)
    assert first.statistics == second.statistics


@pytest.mark.parametrize("count", [20, 100, FEW_LABELS + 70])
def test_wide_features_too_where_labels_wait_for_a_solve_from_the_start(count: int) -> None:
    random = np.random.default_rng(7)
    size = SMALL + 12
    labels = random.integers(0, 3, count + 60)
    codes = np.clip(np.rint(random.normal(0, 40, (count + 60, size))) + 30 * labels[:, None], -127, 127).astype(np.int8)
    source = Statistics.of(codes[::2], labels[::2], CLASSES, "s")
    first, second = ExactTrainer(source), ExactTrainer(source)
    teach(first, codes[:count], labels[:count])
    assert first.pending
    tensors, values = first.state()
    second.restore({name: array.copy() for name, array in tensors.items()}, Fields(values, "saved", ConfigError))
    for row in range(count, count + 60):
        one, other = first.candidates()[CANDIDATE], second.candidates()[CANDIDATE]
        assert_array_equal(one.kernel, other.kernel)
        assert_array_equal(one.bias, other.bias)
        for learner in (first, second):
            learner.learn(codes[row : row + 1], labels[row : row + 1])


def test_between_two_solves_the_head_follows_every_label() -> None:
    codes, labels = labelled(400, seed=3, shift=20.0)
    learner = trainer()
    teach(learner, codes[:-3], labels[:-3])
    seen = set()
    for row in range(397, 400):
        learner.learn(codes[row : row + 1], labels[row : row + 1])
        seen.add(learner.candidates()[CANDIDATE].kernel.tobytes())
    assert len(seen) == 3


def test_the_running_expert_is_the_one_solved_afresh() -> None:
    codes, labels = labelled(FEW_LABELS + 15, seed=4, shift=20.0)
    learner = trainer(ExactSettings(recipes=(Recipe("quick"),)))
    teach(learner, codes, labels)
    assert learner.pending
    running = learner.candidates()[CANDIDATE]
    learner._fold()
    afresh = learner.candidates()[CANDIDATE]
    assert_allclose(running.kernel, afresh.kernel, rtol=0.0001, atol=1e-06)


def test_rows_that_wait_are_no_longer_the_callers() -> None:
    codes, labels = labelled(FEW_LABELS + 5, seed=4, shift=20.0)
    first, second = trainer(), trainer()
    teach(first, codes, labels)
    for row in range(len(labels)):
        code = codes[row : row + 1].copy()
        second.learn(code, labels[row : row + 1])
        code[:] = 0  # a caller that uses its array again
    assert first.pending == second.pending > 0
    assert first.statistics == second.statistics


def test_solves_become_rare(monkeypatch: pytest.MonkeyPatch) -> None:
    solves = 0

    def counted(*arguments: object, **options: object) -> recipes.Solved:
        nonlocal solves
        solves += 1
        return recipes.solve(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(experts, "solve", counted)
    codes, labels = labelled(1200, seed=5)
    learner = trainer()
    teach(learner, codes[:FEW_LABELS], labels[:FEW_LABELS])
    before = solves
    teach(learner, codes[FEW_LABELS:], labels[FEW_LABELS:])
    assert solves - before <= (1200 - FEW_LABELS) / 16 + 2


def test_nothing_is_forgotten_while_labels_are_few() -> None:
    codes, labels = labelled(SETTINGS.remember_labels - 1, seed=6)
    learner = trainer()
    learner.learn(codes, labels)
    learner._fold()
    assert not {"newest", "long-prior"} & set(learner._served.ensemble.solved.heads)
    codes, labels = labelled(200, seed=7)
    learner.learn(codes, labels)
    learner._fold()
    assert "newest" in learner._served.ensemble.solved.heads


def test_a_state_that_knows_more_experts_opens_with_every_label() -> None:
    """As versions 0.1 and 0.2 left it. Those that are left share the weight of the others."""
    more = (
        Recipe("long", lookback_labels=1024),
        Recipe("recent", lookback_labels=256),
        Recipe("recent-prior", lookback_labels=256, local_priors=True),
    )
    codes, labels = labelled(2300, seed=8, shift=20.0)
    old = trainer(ExactSettings(recipes=(*SETTINGS.recipes, *more)))
    old.learn(codes[:2200], labels[:2200])
    tensors, values = old.state()
    before = values["weights"], values["temperatures"]
    assert all(isinstance(table, dict) and set(RETIRED) <= set(table) for table in before)
    opened = trainer()
    opened.restore(tensors, Fields(values, "saved", ConfigError))
    assert opened.statistics == old.statistics
    heads = [subject.candidates()[CANDIDATE] for subject in (opened, old)]
    said, said_before = (head.probabilities(codes[2200:].astype(np.float32)) for head in heads)
    assert_allclose(said, said_before, atol=0.05)
    _, values = opened.state()
    after = values["weights"], values["temperatures"]
    assert all(isinstance(table, dict) and not set(RETIRED) & set(table) for table in after)
    opened.learn(codes[2200:], labels[2200:])
    assert opened.labels == 2300
