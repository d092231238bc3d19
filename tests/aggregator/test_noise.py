"""Noise on heads: how far one label or one device reaches, what a number of heads spends, and that nothing is spent
twice."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aggregator.cli import main
from aggregator.effects import Effect, Note, Spent
from aggregator.heads.fleet_sum import FleetSum
from aggregator.heads.noise import believed, deviations, noisy, system_normal
from aggregator.heads.privacy_budget import multiplier, spent_epsilon, spent_in
from aggregator.policy import HeadTrialPolicy, Policy, Unit
from aggregator.privacy_ledger import carry_spent, spent_beside, write_spent
from aggregator.privacy_policy import PrivacyPolicy
from aggregator.store.location import sqlite_url
from aggregator.store.memory import MemoryStore
from aggregator.store.protocol import Store
from aggregator.store.rows import HEAD_CANDIDATES, PrivacySpentRow
from aggregator.store.sql import SqlStore
from headway.errors import BundleError
from headway.maths import Statistics
from headway.ports import Received
from headway.wire.topics import ALL, Kind, topic
from tests.aggregator.fleets import CLASSES, FLEET, SIZE, SPACE, Fleet, heads, model, statistics_message, tables
from tests.aggregator.test_priors import request, told

HEADS = 3
PRIVACY = PrivacyPolicy(epsilon=2.0, heads_max=HEADS, interval_s=100.0)
POLICY = Policy(publish_interval_s=0.0, privacy=PRIVACY)
SOURCE = tables(300, 99)


class Spending:
    """A fleet whose heads spend a budget; each report brings one as soon as it may."""

    def __init__(self, store: Store | None = None, policy: Policy = POLICY) -> None:
        self.fleet = Fleet(policy, store or MemoryStore())
        self.counter = 0

    def next_head(self, seconds: float = 200.0) -> list[Effect]:
        self.counter += 1
        self.fleet.send(statistics_message("a", 1, self.counter, tables(4000 + self.counter, 1)))
        return self.fleet.pass_time(seconds)

    @property
    def spent(self) -> list[PrivacySpentRow]:
        with self.fleet.store.transaction():
            return spent_in(self.fleet.store, SPACE)


def delta_of(mu: float, epsilon: float) -> float:
    """Of a Gaussian mechanism of sensitivity mu and deviation 1 (Balle & Wang 2018, theorem 8)."""
    normal = lambda x: 0.5 * math.erfc(-x / math.sqrt(2))  # noqa: E731
    return normal(-epsilon / mu + mu / 2) - math.exp(epsilon) * normal(-epsilon / mu - mu / 2)


@pytest.mark.parametrize("unit", [Unit.LABEL, Unit.DEVICE])
def test_no_label_and_no_device_reaches_further_than_the_noise_is_made_for(unit: Unit) -> None:
    """The loudest codes, all of one class, of a device with far more labels than it may weigh."""
    most, count = 8, 1 if unit is Unit.LABEL else 500
    policy = replace(POLICY, privacy=replace(PRIVACY, unit=unit, device_labels_max=most)).in_effect
    reach = most if unit is Unit.DEVICE else 1
    loud = Statistics.of(np.full((count, SIZE), 127, np.int8), np.zeros(count, np.int64), CLASSES, SPACE)
    parts = {"quiet": tables(5, 3), "loud": loud}
    total = FleetSum(SOURCE, 0.02, policy.weighing, lambda name: parts[name])
    total.replace("quiet", None, parts["quiet"])
    before = total.class_sums
    total.replace("loud", None, loud)
    change = total.class_sums - before
    on_sums, on_counts = deviations(SIZE, 1.0, reach)
    reached = math.hypot(np.linalg.norm(change[:-1]) / on_sums, np.linalg.norm(change[-1]) / on_counts)
    assert 0.99 < reached <= 1.0


def test_the_noise_is_gaussian_and_as_wide_as_it_says() -> None:
    drawn = np.concatenate([system_normal(50_001) for _ in range(4)])
    assert abs(drawn.mean()) < 0.01
    assert abs(drawn.std() - 1) < 0.01
    assert abs((drawn**4).mean() - 3) < 0.1
    sums = np.zeros((SIZE + 1, 3000))
    made = noisy(sums, 2.0, 4)
    on_sums, on_counts = deviations(SIZE, 2.0, 4)
    assert made[:-1].std() == pytest.approx(on_sums, rel=0.05)
    assert made[-1].std() == pytest.approx(on_counts, rel=0.1)
    assert (4 / on_sums * 127 * SIZE**0.5) ** 2 + (4 / on_counts) ** 2 == pytest.approx(1 / 2.0**2)


def test_without_noise_the_means_are_those_of_the_labels_and_with_much_the_training_data_answers() -> None:
    fleet = tables(4000, 5)
    quiet = believed(fleet.class_sums.astype(np.float64), SOURCE, 1e-6, 1)
    assert np.allclose(quiet.class_sums / quiet.counts, fleet.class_sums / fleet.counts, atol=0.1)
    loud = believed(noisy(fleet.class_sums.astype(np.float64), 1e6, 1), SOURCE, 1e6, 1)
    assert loud.samples <= 20, "as much as a few labels among the 300 of the training data"


@pytest.mark.parametrize(("epsilon", "count"), [(0.5, 1), (2.0, 30), (10.0, 300)])
def test_so_many_heads_spend_what_the_theory_says(epsilon: float, count: int) -> None:
    settings = PrivacyPolicy(epsilon=epsilon, heads_max=count)
    row = PrivacySpentRow(SPACE, 1, 1, 0.0, 1, "label", multiplier(settings))
    spent = spent_epsilon([row] * count, settings)
    assert spent == pytest.approx(epsilon, rel=1e-6)
    assert delta_of(math.sqrt(count) / row.multiplier, spent) == pytest.approx(settings.delta, rel=1e-3)


def test_noise_that_hid_labels_hides_no_device_and_the_other_way_round_by_half() -> None:
    device = replace(PRIVACY, unit=Unit.DEVICE)
    label_row = PrivacySpentRow(SPACE, 1, 1, 0.0, 1, "label", 5.0)
    assert spent_epsilon([label_row], device) == math.inf
    as_device = spent_epsilon([replace(label_row, unit="device")], device)
    assert spent_epsilon([replace(label_row, unit="device")], PRIVACY) > as_device > 0


def test_when_the_budget_is_spent_nothing_is_published_and_it_is_said_once(store: Store) -> None:
    subject = Spending(store)
    for number in range(1, HEADS + 1):
        made = subject.next_head()
        assert [head.version for head in heads(made)] == [number]
        assert [effect.row.number for effect in made if isinstance(effect, Spent)] == [number]
        assert not heads(subject.next_head(1.0)), "not before the interval has passed"
        subject.fleet.restart()
    last = [subject.next_head(), subject.next_head()]
    assert not any(heads(made) for made in last)
    said = [effect.text for made in last for effect in made if isinstance(effect, Note) and effect.warning]
    assert len(said) == 1
    assert "budget epsilon 2 is spent" in said[0]
    subject.fleet.policy = replace(POLICY, privacy=replace(PRIVACY, epsilon=4.0))
    subject.fleet.restart()
    assert heads(subject.next_head()), "an operator who grants more gets more"


def test_two_heads_of_the_same_labels_have_different_noise_and_the_stored_sums_have_none() -> None:
    first, second = Spending(), Spending()
    one, two = heads(first.next_head())[0], heads(second.next_head())[0]
    assert not np.array_equal(one.head.kernel, two.head.kernel)
    assert first.fleet.core.statistics == second.fleet.core.statistics
    assert first.fleet.core.statistics.same_sums(tables(4001, 1))
    assert one.devices == 0, "how many devices there are is not told"


def test_a_removal_brings_a_head_at_once_while_the_budget_pays(store: Store) -> None:
    subject = Spending(store)
    subject.next_head()
    with store.transaction():
        store.request_removal("a", 0.0)
    assert heads(subject.fleet.pass_time(5.0))
    assert subject.fleet.core.statistics.samples == 0


def test_a_removal_that_the_budget_does_not_pay_for_leaves_trials_running(store: Store) -> None:
    privacy = replace(PRIVACY, heads_max=1)
    subject = Spending(store, replace(POLICY, privacy=privacy, head_trial=HeadTrialPolicy(share=1.0, patience_s=500.0)))
    subject.next_head()
    with store.transaction():
        assert store.rows(HEAD_CANDIDATES).count() == 1
        store.request_removal("a", 0.0)
    subject.fleet.pass_time(5.0)
    with store.transaction():
        assert store.rows(HEAD_CANDIDATES).count() == 1, "it tells no more of the device than the budget allows"
    said = [effect.text for effect in subject.fleet.pass_time(600.0) if isinstance(effect, Note)]
    assert any("undecided" in text for text in said)
    with store.transaction():
        assert store.rows(HEAD_CANDIDATES).count() == 0


def test_an_older_store_that_was_put_back_spends_nothing_again(tmp_path: Path) -> None:
    subject, older = Spending(), Spending()
    for _ in range(HEADS):
        subject.next_head()
    older.fleet.now_s += 7.0
    older.next_head()
    write_spent(tmp_path / "privacy", subject.spent)
    write_spent(tmp_path / "privacy", subject.spent)
    rows = spent_beside(tmp_path / "privacy")
    assert rows == subject.spent
    with older.fleet.store.transaction():
        assert carry_spent(older.fleet.store, rows) == HEADS
        assert carry_spent(older.fleet.store, rows) == 0
    older.fleet.restart()
    assert len(older.spent) == HEADS + 1, "its own head was made, too"
    assert not heads(older.next_head())


def test_a_lost_store_counts_the_heads_that_the_retained_one_tells_of() -> None:
    subject, new = Spending(), Spending()
    retained = [heads(subject.next_head())[0] for _ in range(HEADS)][-1]
    new.fleet.send(Received(topic(FLEET, ALL, Kind.HEAD), retained.encode(), True))
    assert [(row.heads, row.version) for row in new.spent] == [(HEADS, HEADS)]
    assert not heads(new.next_head())


def test_nothing_else_of_the_exact_sums_is_told() -> None:
    fleet = Fleet(POLICY)
    for number, name in enumerate("abcdefgh"):
        contradicts = tables(60, number, CLASSES) if number else tables(60, number, CLASSES[::-1])
        fleet.send(statistics_message(name, 1, 1, contradicts + tables(9, 5, ("new",))))
    made = fleet.pass_time(100.0)
    assert heads(made)[-1].head.classes == CLASSES, "a class that a device added is not named"
    assert not told(fleet.send(request("spy", 0)), "spy"), "the told sum is exact, so it is not told"
    assert fleet.core._heads._contributions.quarantined == frozenset()


def test_where_noise_cannot_be_added_the_server_says_so_and_does_not_start() -> None:
    source = Statistics.zeros(SIZE, CLASSES, SPACE)
    with pytest.raises(BundleError, match="statistics of the training data"):
        Fleet(POLICY, build_model=lambda: replace(model(), training_statistics=source))


def test_the_command_shows_what_heads_wait_for_and_what_is_spent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    database = SqlStore(sqlite_url(tmp_path))
    policy = replace(POLICY, head_devices_min=2, head_labels_min=30)
    subject = Spending(database, policy)
    subject.fleet.send(statistics_message("b", 1, 1, tables(9, 2)))
    assert heads(subject.next_head())
    subject.next_head()
    database.close()
    config = tmp_path / "aggregator.toml"
    config.write_text(
        f'[fleet]\nname = "plant"\n[bundle]\npath = "b.hwb"\n[storage]\nstate_dir = "{tmp_path}"\n'
        "[publish]\ndevices_min = 2\nlabels_min = 30\n[privacy]\nepsilon = 2.0\nheads_max = 3\ninterval_s = 100\n"
        f'[mqtt]\nhost = "127.0.0.1"\n'
    )
    assert main(["privacy", "--config", str(config)]) == 0
    out = capsys.readouterr().out
    assert "1 of 2 devices and 1 of 30 labels are new" in out
    assert "epsilon 2 at delta 1e-06 is spent by 1 heads" in out
    assert "2 more heads" in out
    assert main(["privacy", "--config", str(config), "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["heads_left"] == 2
    assert 0 < found["epsilon_spent"] < 2.0
