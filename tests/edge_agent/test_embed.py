"""The learner as a library, through its public names."""

from __future__ import annotations

import dataclasses
import tracemalloc
from pathlib import Path

import pytest

import edge_agent
from edge_agent import embed
from edge_agent.learner_settings import LearnerSettings
from headway.durable import CHECK_BYTES
from headway.errors import DataError, StoreError
from tests.arrays import assert_same
from tests.edge_agent.variants import CLASSES, IdentityRuntime, variant, windows


@pytest.fixture(autouse=True)
def identity(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bundle of these tests holds no real backbone."""
    monkeypatch.setattr(embed, "open_runtime", lambda variant: IdentityRuntime())


def test_observe_then_label_learns() -> None:
    learner = edge_agent.Learner(variant())
    x, y = windows(60, drift=0.8)
    guesses = [learner.observe(window) for window in x]
    assert len({guess.id for guess in guesses}) == 60
    assert guesses[0].label in CLASSES
    for guess, label in zip(guesses, y.tolist(), strict=True):
        assert learner.label(guess.id, CLASSES[label])
    assert learner.metrics["samples"] == 60
    tested, truth = windows(100, drift=0.8, seed=4)
    assert learner.score(tested, truth) > 0.9
    assert learner.label("#0", None)
    assert not learner.label("never seen", "walk")


def test_windows_that_nobody_labels_take_no_more_memory_than_are_remembered() -> None:
    learner = edge_agent.Learner(variant(), LearnerSettings(horizon_rows=16))
    x, _ = windows(50, drift=0.8)

    def observe() -> int:
        for number in range(600):
            learner.observe(x[number % len(x)])
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = observe()
        assert observe() - before < 10_000
    finally:
        tracemalloc.stop()


def test_river_and_scikit_learn_names_do_the_same() -> None:
    x, y = windows(50, drift=0.8)
    one, many = edge_agent.Learner(variant()), edge_agent.Learner(variant())
    for window, label in zip(x, y.tolist(), strict=True):
        one.learn_one(window, label)
    many.learn_many(x, [CLASSES[label] for label in y])
    assert_same(one.predict_proba(x), many.predict_proba(x))
    assert one.predict_one(x[0]) == many.predict(x)[0]


def test_saved_and_loaded_it_goes_on_to_the_bit(tmp_path: Path) -> None:
    x, y = windows(60, drift=0.8)
    straight, first = edge_agent.Learner(variant()), edge_agent.Learner(variant())
    straight.learn_many(x, y)
    guess = first.observe(x[0])
    first.learn_many(x[:30], y[:30]).save(tmp_path / "state")
    second = edge_agent.Learner(variant()).load(tmp_path / "state")
    second.learn_many(x[30:], y[30:])
    assert_same(second.predict_proba(x), straight.predict_proba(x))
    assert second.label(guess.id, int(y[0]))
    assert second.observe(x[1]).id == "#1"


def test_a_saved_file_with_one_flipped_bit_is_refused_and_one_without_a_sum_is_taken(tmp_path: Path) -> None:
    x, y = windows(30, drift=0.8)
    path, learner = tmp_path / "state", edge_agent.Learner(variant())
    learner.learn_many(x, y).save(path)
    good = path.read_bytes()
    path.write_bytes(good[CHECK_BYTES:])
    assert_same(edge_agent.Learner(variant()).load(path).predict_proba(x), learner.predict_proba(x))
    path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(StoreError, match="state is damaged: its check sum does not fit"):
        edge_agent.Learner(variant()).load(path)


def test_mistakes_are_named(tmp_path: Path) -> None:
    learner = edge_agent.Learner(variant())
    x, _ = windows(2)
    with pytest.raises(DataError, match="label 'wlak' is no class; did you mean 'walk'"):
        learner.learn_one(x[0], "wlak")
    with pytest.raises(DataError, match=r"label 7 is outside 0\.\.2"):
        learner.learn_one(x[0], 7)
    with pytest.raises(DataError, match="2 windows came with 1 labels"):
        learner.learn_many(x, ["walk"])
    with pytest.raises(DataError, match="shape"):
        learner.predict(x[0, 0])
    with pytest.raises(StoreError, match="cannot read"):
        learner.load(tmp_path / "none")
    with pytest.raises(DataError, match="came as names and values; give an array"):
        learner.learn_one({"a": 1.0}, "walk")  # type: ignore[arg-type]  # as river gives windows
    for ids in ("#0", ["#0"]):
        with pytest.raises(DataError, match="came with 2 labels; give a list of as many ids"):
            learner.label_many(ids, ["walk", "run"])
    for unusable in (5, "", "x" * 129):
        with pytest.raises(DataError, match="give a text of 1 to 128 characters"):
            learner.observe(x[0], unusable)  # type: ignore[arg-type]
    learner.save(tmp_path / "state.bin")
    sums = dataclasses.replace(variant().training_statistics, space="f" * 64)
    other = dataclasses.replace(variant(), training_statistics=sums)
    with pytest.raises(StoreError, match="was saved with another bundle; open that one"):
        edge_agent.Learner(other).load(tmp_path / "state.bin")


def test_windows_may_be_lists_of_numbers_and_may_be_none() -> None:
    learner = edge_agent.Learner(variant())
    x, _ = windows(2)
    assert learner.predict_one(x[0].tolist()) == learner.predict_one(x[0])  # type: ignore[arg-type]
    learner.learn_one(x[0].tolist(), "walk")  # type: ignore[arg-type]
    assert learner.label(learner.observe(x[1].tolist()).id, "run")  # type: ignore[arg-type]
    assert (learner.predict(x[:0]).tolist(), learner.predict_proba(x[:0]).shape) == ([], (0, 3))


def test_new_classes_only_when_asked_for() -> None:
    learner = edge_agent.Learner(variant(), LearnerSettings(new_classes=True))
    x, _ = windows(2)
    learner.learn_one(x[0], "fall")
    assert learner.classes == (*CLASSES, "fall")


def test_the_old_name_of_the_head_that_answered_is_there_for_one_release() -> None:
    answer = embed.Prediction("#0", "walk", windows(1)[0][0], "frozen")
    with pytest.warns(DeprecationWarning, match="served_by"):
        assert answer.source == "frozen"
