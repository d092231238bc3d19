"""Conditions that come back are told apart by labels alone, exactly, and cost nothing where there is only one."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from edge_agent.learner.exact import ExactSettings, ExactTrainer
from headway.arrays import AnyArray, Int8, Int64
from headway.errors import StoreError
from headway.fields import Fields
from headway.maths import Statistics

SIZE, CLASSES, TURN = 12, 3, 150
SPACE = "c" * 64
ON = ExactSettings(conditions=True)
NAMES = tuple(f"class {label}" for label in range(CLASSES))


def means(seed: int) -> AnyArray:
    return np.random.default_rng(seed).normal(size=(CLASSES, SIZE)) * 18


def samples(count: int, where: AnyArray, random: np.random.Generator) -> tuple[Int8, Int64]:
    labels = random.integers(0, CLASSES, count)
    rows = where[labels] + random.normal(size=(count, SIZE)) * 14
    return np.clip(np.rint(rows), -127, 127).astype(np.int8), labels.astype(np.int64)


@cache
def training() -> Statistics:
    codes, labels = samples(600, means(1), np.random.default_rng(9))
    return Statistics.of(codes, labels, NAMES, SPACE)


def recurring(turns: int, conditions: int = 2, seed: int = 3) -> tuple[Int8, Int64]:
    """Turns of `TURN` labels; the model was trained in the first condition. In the second classes change places, in
    others they lie elsewhere."""
    random = np.random.default_rng(seed)
    places = [np.roll(means(1), turn, axis=0) if turn < 2 else means(turn) for turn in range(conditions)]
    parts = [samples(TURN, places[turn % conditions], random) for turn in range(turns)]
    return np.concatenate([codes for codes, _ in parts]), np.concatenate([labels for _, labels in parts])


def right(trainer: ExactTrainer, codes: Int8, labels: Int64) -> AnyArray:
    """Whether each label was predicted before it was learned, bool (n,)."""
    hits = np.zeros(len(codes), bool)
    for row in range(len(codes)):
        logits = trainer.candidates()["exact"].logits(codes[row : row + 1].astype(np.float32))
        hits[row] = int(logits.argmax()) == labels[row]
        trainer.learn(codes[row : row + 1], labels[row : row + 1])
    return hits


def saved(trainer: ExactTrainer) -> tuple[dict[str, bytes], object]:
    tensors, values = trainer.state()
    return {name: array.tobytes() for name, array in tensors.items()}, values


def restored(trainer: ExactTrainer) -> ExactTrainer:
    tensors, values = trainer.state()
    other = ExactTrainer(training(), ON)
    other.restore({name: array.copy() for name, array in tensors.items()}, Fields(values, "state", StoreError))
    return other


def count(trainer: ExactTrainer) -> int:
    return len(trainer._knowledge.conditions)


@pytest.mark.parametrize("conditions", [2, 3])
def test_a_condition_that_comes_back_is_known_again(conditions: int) -> None:
    codes, labels = recurring(9, conditions)
    trainer = ExactTrainer(training(), ON)
    hits = right(trainer, codes, labels)
    alone = right(ExactTrainer(training()), codes, labels)
    later = slice(4 * TURN, None)
    assert count(trainer) == conditions
    assert hits[later].mean() > alone[later].mean() + 0.1
    # soon after each turn, too
    back = [turn * TURN + 20 for turn in range(4, 9)]
    assert np.mean([hits[at : at + 40].mean() for at in back]) > 0.9


def test_sums_of_all_conditions_are_those_of_all_labels() -> None:
    codes, labels = recurring(7, 3)
    trainer = ExactTrainer(training(), ON)
    trainer.learn(codes, labels)
    conditions = trainer._knowledge.conditions
    total = trainer._knowledge.buckets.total
    parts = [sums.statistics(SPACE) for sums in conditions._sums]
    together = parts[0]
    for part in parts[1:]:
        together += part
    assert together == total
    assert all(part.inconsistency() is None for part in parts)


def test_one_condition_only_opens_no_other() -> None:
    codes, labels = recurring(8, conditions=1)
    trainer = ExactTrainer(training(), ON)
    same = ExactTrainer(training())
    for one in (trainer, same):
        one.learn(codes, labels)
    assert count(trainer) == 1
    head, other = trainer.candidates()["exact"], same.candidates()["exact"]
    assert head.kernel.tobytes() == other.kernel.tobytes()


@pytest.mark.parametrize("at", [100, 290, 299, 310, 437, 900])
def test_a_restart_at_any_label_goes_on_to_the_bit(at: int) -> None:
    codes, labels = recurring(7, 3)
    whole = ExactTrainer(training(), ON)
    whole.learn(codes[:at], labels[:at])
    other = restored(whole)
    assert saved(other) == saved(whole)
    for one in (whole, other):
        one.learn(codes[at:], labels[at:])
    assert saved(other) == saved(whole)


def test_labels_in_parts_are_learned_as_all_at_once_to_the_bit() -> None:
    codes, labels = recurring(7, 3)
    whole, parts, known = ExactTrainer(training(), ON), ExactTrainer(training(), ON), 0
    whole.learn(codes, labels)
    for at in (100, 290, 299, 310, 437, 900, len(codes)):
        parts.learn(codes[known:at], labels[known:at])
        known = at
    assert saved(parts) == saved(whole)


def test_what_is_predicted_in_between_changes_nothing() -> None:
    codes, labels = recurring(5)
    asked, silent = ExactTrainer(training(), ON), ExactTrainer(training(), ON)
    right(asked, codes, labels)
    for row in range(len(codes)):
        silent.learn(codes[row : row + 1], labels[row : row + 1])
    assert saved(asked) == saved(silent)


def test_there_are_never_more_than_the_most_that_are_kept() -> None:
    codes, labels = recurring(24, conditions=8)
    trainer = ExactTrainer(training(), ON)
    trainer.learn(codes, labels)
    assert count(trainer) == ExactSettings().conditions_max
    assert sum(sums.samples for sums in trainer._knowledge.conditions._sums) == len(codes) - trainer.pending


def test_a_label_that_is_corrected_moves_in_the_sums_of_its_condition() -> None:
    codes, labels = recurring(5)
    trainer = ExactTrainer(training(), ON)
    trainer.learn(codes, labels)
    number = TURN + 60
    after = (int(labels[number]) + 1) % CLASSES
    trainer.change(number, codes[number : number + 1], int(labels[number]), after)
    conditions = trainer._knowledge.conditions
    total = trainer._knowledge.buckets.total
    assert sum(sums.samples for sums in conditions._sums) == total.samples
    together = conditions._sums[0].statistics(SPACE) + conditions._sums[1].statistics(SPACE)
    assert together == total
    trainer.change(number, codes[number : number + 1], after, -1)
    assert sum(sums.samples for sums in conditions._sums) == total.samples - 1


def test_a_moment_is_gone_back_to_with_its_conditions() -> None:
    codes, labels = recurring(6, 3)
    trainer = ExactTrainer(training(), ON)
    trainer.learn(codes[:400], labels[:400])
    before, moment = saved(trainer), trainer.moment()
    trainer.learn(codes[400:], labels[400:])
    after = saved(trainer)
    trainer.go_back(moment)
    assert saved(trainer) == before
    trainer.learn(codes[400:], labels[400:])
    assert saved(trainer) == after


def test_a_moment_is_saved_beside_what_is_known_now() -> None:
    codes, labels = recurring(6, 3)
    trainer = ExactTrainer(training(), ON)
    trainer.learn(codes[:700], labels[:700])
    moment = trainer.moment()
    trainer.learn(codes[700:], labels[700:])
    tensors, values = trainer.moment_state(moment)
    back = restored(trainer)
    found = back.moment_restored(tensors, Fields(values, "moment", StoreError))
    back.go_back(found)
    trainer.go_back(moment)
    assert saved(back) == saved(trainer)
    # sums that have not changed since are saved once
    assert sum(name.startswith("condition.") for name in tensors) < 2 * count(trainer)


def test_new_classes_and_new_names_come_into_every_condition() -> None:
    codes, labels = recurring(5)
    trainer = ExactTrainer(training(), ON)
    trainer.learn(codes, labels)
    trainer.with_classes((*NAMES, "fourth"))
    trainer.renamed([("fourth", "4th")])
    trainer.learn(codes[:64], np.full(64, 3))
    names = (*NAMES, "4th")
    assert all(sums.classes == names for sums in trainer._knowledge.conditions._sums)
    other = restored_with(trainer, names)
    assert saved(other) == saved(trainer)


def restored_with(trainer: ExactTrainer, names: tuple[str, ...]) -> ExactTrainer:
    other = ExactTrainer(training(), ON)
    other.with_classes((*NAMES, "fourth"))
    other.renamed([("fourth", "4th")])
    assert other.classes == names
    tensors, values = trainer.state()
    other.restore(dict(tensors), Fields(values, "state", StoreError))
    return other


@pytest.mark.parametrize("part", ["belief", "waiting", "numbers", "distances"])
def test_damaged_conditions_are_refused(part: str) -> None:
    codes, labels = recurring(5)
    trainer = ExactTrainer(training(), ON)
    trainer.learn(codes[:700], labels[:700])
    tensors, values = trainer.state()
    name = f"conditions.{part}"
    damaged = np.append(tensors[name], 9).astype(tensors[name].dtype)
    with pytest.raises(StoreError):
        ExactTrainer(training(), ON).restore({**tensors, name: damaged}, Fields(values, "state", StoreError))


def test_switched_off_it_forgets_the_conditions_and_goes_on() -> None:
    codes, labels = recurring(5)
    trainer, never = ExactTrainer(training(), ON), ExactTrainer(training())
    for one in (trainer, never):
        one.learn(codes, labels)
    tensors, values = trainer.state()
    off = ExactTrainer(training())
    off.restore(dict(tensors), Fields(values, "state", StoreError))
    assert count(off) == 1
    assert off.statistics == never.statistics
    off.learn(codes[:200], labels[:200])
    back = ExactTrainer(training(), ON)
    tensors, values = off.state()
    back.restore(dict(tensors), Fields(values, "state", StoreError))
    back.learn(codes, labels)
    assert back.labels == 2 * len(codes) + 200
    assert restored(back).statistics == back.statistics
