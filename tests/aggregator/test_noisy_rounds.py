"""Noise on rounds of averages: how far one device reaches, what rounds spend, and that nothing is spent twice."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aggregator.cli import main
from aggregator.config import read_settings
from aggregator.effects import Effect, Note, Spent
from aggregator.heads.averaging import weights_of
from aggregator.heads.noisy_rounds import Deviations, Evidence, NoisySum, unit_of
from aggregator.heads.privacy_budget import multiplier, spent_epsilon, spent_in
from aggregator.heads.waiting_updates import WaitingUpdates
from aggregator.policy import AveragingPolicy, Limits, Method, Policy, Robust, Strategy
from aggregator.privacy_ledger import carry_spent, spent_beside, write_spent
from aggregator.privacy_policy import PrivacyPolicy, Unit
from aggregator.privacy_words import privacy_in_words
from aggregator.store import StoredUpdate
from aggregator.store.location import sqlite_url
from aggregator.store.memory import MemoryStore
from aggregator.store.protocol import Store
from aggregator.store.rows import NOISY_ROUNDS, NoisyRoundsRow, PrivacySpentRow
from aggregator.store.sql import SqlStore
from headway.arrays import Float32, Float64
from headway.bundle import weights_over_unit_codes
from headway.errors import ConfigError
from headway.ports import Received
from headway.wire import Update
from headway.wire.topics import ALL, Kind, topic
from tests.aggregator.fleets import CLASSES, FLEET, SIZE, SPACE, Fleet, acks, delta, heads, model, update_message

ROUNDS = 3
PRIVACY = PrivacyPolicy(epsilon=8.0, unit=Unit.DEVICE, heads_max=ROUNDS, interval_s=100.0)
AVERAGING = AveragingPolicy(robust=Robust.NONE, updates_min=3, clip_norm=0.5)
POLICY = Policy(method=Method.AVERAGE, publish_interval_s=0.0, privacy=PRIVACY, averaging=AVERAGING)
SHAPE = len(CLASSES), SIZE + 1
VERSION = 7


def without_noise(count: int) -> Float64:
    return np.zeros(count)


def pointed(value: float) -> Float32:
    """All in one entry."""
    found = np.zeros(SHAPE, np.float32)
    found[0, 0] = value
    return found


# what the neighbour sends: delta, samples that it claims, the head that it began at
Sent = Sequence[tuple[Float32, int, int]]
NEIGHBOURS: dict[str, tuple[Sent, bool]] = {
    # and whether it reaches as far as any may
    "far too long": ([(delta(1e6), 10, VERSION - 1)], True),
    "one huge entry": ([(pointed(-1e30), 10, VERSION - 1)], True),
    "just as long as it may be": ([(pointed(0.5), 10, VERSION - 1)], True),
    "claims more samples than there are": ([(delta(1e6), 2**40, VERSION - 1)], True),
    "sends many updates": ([(delta(1e3 * at), 10**at, VERSION - 1) for at in range(1, 9)], True),
    "sends against itself": ([(delta(1e3), 10, VERSION - 1), (delta(-1e3), 10, VERSION - 1)], False),
    "is stale, and loud enough for that": ([(delta(1e6), 10, 0)], True),
    "is stale": ([(pointed(0.5), 10, 0)], False),
    "sends nothing new": ([(delta(0.0), 10, VERSION - 1)], False),
    "is smaller than the unit of rounding": ([(delta(1e-9), 1, VERSION - 1)], False),
}


def told(store: Store, without: str = "") -> NoisySum:
    """What a round would tell but for the noise."""
    policy = POLICY.in_effect.averaging
    waiting = WaitingUpdates(store, model().start, SPACE, policy)
    found = waiting.gather(VERSION, frozenset({without}), None)
    worth = weights_of(found, policy, measured=False)
    return NoisySum.of(found.total(worth), worth.norms, policy.clip_norm, 1.0, without_noise)


@pytest.mark.parametrize("name", NEIGHBOURS)
def test_no_device_reaches_further_than_the_noise_is_made_for(name: str) -> None:
    sent, far = NEIGHBOURS[name]
    store, random = MemoryStore(), np.random.default_rng(len(name))
    with store.transaction():
        rows = [
            (f"d{at}", [(random.normal(0, 0.2, SHAPE).astype(np.float32), 10 + at, VERSION - 1)]) for at in range(9)
        ]
        for device, updates in [*rows, ("neighbour", sent)]:
            for at, (one, count, base) in enumerate(updates, 1):
                payload = Update(device, 1, at, base, count, SPACE, CLASSES, one).encode()
                store.put_update(StoredUpdate(device, 1, at, SPACE, payload, 1.0))
        with_it, without = told(store), told(store, "neighbour")
    noise = Deviations.of(AVERAGING.clip_norm, 1.0)
    moved = float(np.linalg.norm(with_it.total - without.total)) / noise.total
    counted = (with_it.devices - without.devices) / noise.devices
    reached = math.hypot(moved, counted, (with_it.shorter - without.shorter) / noise.shorter)
    assert reached <= 1.0
    assert (reached > 0.999) == far


def test_the_noise_is_as_wide_as_it_says_and_everything_is_whole_units() -> None:
    made = NoisySum.of(np.full((40, 500), 0.123456789), [0.1] * 50, 0.5, 3.0)
    noise = made.noise
    assert (made.total - 0.123456789).std() == pytest.approx(noise.total, rel=0.03)
    spent = (0.5 / noise.total) ** 2 + (1 / noise.devices) ** 2 + (0.5 / noise.shorter) ** 2
    assert spent == pytest.approx(1 / 3.0**2, rel=1e-4)
    whole = made.total / unit_of(0.5, made.total.size)
    assert np.array_equal(whole, np.rint(whole))
    every = [NoisySum.of(np.zeros((1, 1)), [0.1] * 50, 0.5, 3.0) for _ in range(2000)]
    assert np.std([one.devices for one in every]) == pytest.approx(noise.devices, rel=0.1)
    assert np.std([one.shorter for one in every]) == pytest.approx(noise.shorter, rel=0.1)


@pytest.mark.parametrize("spread", [0.0, 0.1, 0.3, 1.0])
@pytest.mark.parametrize("first", [10.0, 1e-2])
def test_the_bound_goes_to_the_usual_length_however_much_lengths_differ(first: float, spread: float) -> None:
    random = np.random.default_rng(6)
    norms = 0.6 * np.exp(random.normal(0, spread, 200))
    bound = first
    for _ in range(12):
        bound = NoisySum.of(np.zeros((1, 1)), [*norms], bound, 1.0, random.standard_normal).next_clip_norm()
    for _ in range(9):
        bound = NoisySum.of(np.zeros((1, 1)), [*norms], bound, 1.0, random.standard_normal).next_clip_norm()
        assert 0.3 <= bound <= 1.2


def test_the_bound_mostly_stays_where_there_is_nothing_but_noise() -> None:
    random = np.random.default_rng(7)
    made = [NoisySum.of(np.zeros((1, 1)), [0.1] * 10, 0.5, 100.0, random.standard_normal) for _ in range(200)]
    assert sum(one.next_clip_norm() != 0.5 for one in made) <= 20


def moves(mean: Float64, devices: int, noise: float, rounds: int, seed: int) -> list[float]:
    """How much of the way that `mean` points each round moves a head."""
    random, found, moved = np.random.default_rng(seed), Evidence(np.zeros(mean.shape), 0.0), []
    for _ in range(rounds):
        told = NoisySum.of(devices * mean, [0.1] * devices, 0.5, noise, random.standard_normal)
        found = found.after(told)
        step = found.share * told.mean
        moved.append(float(np.vdot(step, mean) / np.vdot(mean, mean)) if mean.any() else float(step.any()))
    return moved


def test_without_much_noise_a_round_moves_the_head_by_its_mean() -> None:
    mean = np.random.default_rng(3).normal(0, 0.01, (10, 65))
    assert moves(mean, 40, 1e-6, 5, 4) == pytest.approx([1.0] * 5, rel=1e-3)
    assert np.mean(moves(mean, 40, 1.0, 5, 4)) == pytest.approx(1.0, rel=0.1)


def test_what_many_rounds_have_in_common_moves_the_head_though_each_is_mostly_noise() -> None:
    mean = np.random.default_rng(3).normal(0, 0.01, (10, 65))
    moved = moves(mean, 100, 8.0, 30, 4)
    assert np.mean(moved[:3]) < 0.2
    assert np.mean(moved[15:]) == pytest.approx(1.0, abs=0.25)


@pytest.mark.parametrize("shape", [(2, 4), (10, 65)])
def test_noise_alone_moves_no_head(shape: tuple[int, int]) -> None:
    moved = [moves(np.zeros(shape), 40, noise, 20, seed) for seed in range(20) for noise in (0.1, 100.0)]
    assert np.mean(moved) < 0.02


class Spending:
    """A fleet of four whose rounds spend a budget; each device's update waits when the next one may be."""

    def __init__(self, store: Store | None = None, policy: Policy = POLICY) -> None:
        self.fleet = Fleet(policy, store or MemoryStore())
        self.sequences: Counter[str] = Counter()

    def send(self, names: str = "abcd") -> list[Effect]:
        self.sequences.update(names)
        with self.fleet.store.transaction():
            version = self.fleet.store.head_version()
        return self.fleet.send(
            *(update_message(name, self.sequences[name], delta(0.1), base_version=version) for name in names)
        )

    def next_round(self, seconds: float = 200.0) -> list[Effect]:
        self.send()
        return self.fleet.pass_time(seconds)

    @property
    def spent(self) -> list[PrivacySpentRow]:
        with self.fleet.store.transaction():
            return spent_in(self.fleet.store, SPACE)


def test_when_the_budget_is_spent_rounds_end_and_it_is_said_once(store: Store) -> None:
    subject = Spending(store)
    for number in range(1, ROUNDS + 1):
        made = subject.next_round()
        (head,) = heads(made)
        assert (head.version, head.devices) == (number, 0), "how many devices there are is not told"
        assert [effect.row.number for effect in made if isinstance(effect, Spent)] == [number]
        assert any("give or take" in effect.text for effect in made if isinstance(effect, Note))
        assert not heads(subject.next_round(1.0)), "not before the interval has passed"
        subject.fleet.restart()
    assert spent_epsilon(subject.spent, PRIVACY) == pytest.approx(PRIVACY.epsilon, rel=1e-6)
    assert {row.multiplier for row in subject.spent} == {multiplier(PRIVACY)}
    last = [subject.next_round(), subject.next_round()]
    assert not any(heads(made) for made in last)
    said = [effect.text for made in last for effect in made if isinstance(effect, Note) and effect.warning]
    assert len(said) == 1
    assert "budget epsilon 8 is spent" in said[0]
    assert acks(subject.send())["a"][0].sequence == subject.sequences["a"], "no device keeps what is of no use"
    assert not subject.fleet.refusals
    subject.fleet.policy = replace(POLICY, privacy=replace(PRIVACY, epsilon=16.0))
    subject.fleet.restart()
    assert heads(subject.next_round()), "an operator who grants more gets more"


def test_as_many_rounds_spend_what_one_gaussian_mechanism_with_their_precision_does() -> None:
    from dp_accounting import GaussianDpEvent, SelfComposedDpEvent
    from dp_accounting.pld import PLDAccountant

    settings = replace(PRIVACY, epsilon=3.0, heads_max=30)
    row = PrivacySpentRow(SPACE, 1, 1, 0.0, 1, "device", multiplier(settings))
    spent = spent_epsilon([row] * 30, settings)
    accountant = PLDAccountant().compose(SelfComposedDpEvent(GaussianDpEvent(row.multiplier), 30))
    assert spent == pytest.approx(3.0, rel=1e-6)
    assert accountant.get_epsilon(settings.delta) == pytest.approx(spent, rel=1e-2)


def test_an_older_store_or_a_lost_one_spends_nothing_again(tmp_path: Path) -> None:
    subject, older, lost = Spending(), Spending(), Spending()
    retained = [heads(subject.next_round())[0] for _ in range(ROUNDS)][-1]
    older.fleet.now_s += 7.0
    older.next_round()
    write_spent(tmp_path / "privacy", subject.spent)
    with older.fleet.store.transaction():
        assert carry_spent(older.fleet.store, spent_beside(tmp_path / "privacy")) == ROUNDS
    older.fleet.restart()
    assert not heads(older.next_round())
    lost.fleet.send(Received(topic(FLEET, ALL, Kind.HEAD), retained.encode(), True))
    assert [(row.heads, row.version) for row in lost.spent] == [(ROUNDS, ROUNDS)]
    assert not heads(lost.next_round())


def test_heads_that_were_solved_and_rounds_spend_the_same_budget() -> None:
    subject = Spending()
    with subject.fleet.store.transaction():
        carry_spent(subject.fleet.store, [PrivacySpentRow(SPACE, 1, 1, 0.0, 2, "device", multiplier(PRIVACY))])
    assert heads(subject.next_round())
    assert not heads(subject.next_round()), "three of three are spent"


def test_two_rounds_of_the_same_updates_move_the_head_alike_with_different_noise() -> None:
    generous = replace(POLICY, privacy=replace(PRIVACY, epsilon=1000.0, heads_max=1))
    one, two = (weights_over_unit_codes(heads(Spending(policy=generous).next_round())[0].head) for _ in range(2))
    assert not np.array_equal(one, two)
    start = weights_over_unit_codes(model().start)
    assert one - start == pytest.approx(delta(0.1), abs=0.03)


def test_a_restart_goes_on_from_the_evidence_and_the_bound_of_the_rounds_before(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    # of the system's generator one draw in a hundred makes another number of four devices
    monkeypatch.setattr("aggregator.heads.noisy_rounds.system_normal", np.random.default_rng(6).standard_normal)
    subject = Spending(store, replace(POLICY, privacy=replace(PRIVACY, epsilon=1000.0)))
    subject.next_round()
    with store.transaction():
        before = store.rows(NOISY_ROUNDS).get(SPACE)
    subject.fleet.restart()
    subject.next_round()
    with store.transaction():
        after = store.rows(NOISY_ROUNDS).get(SPACE)
    assert before is not None
    assert after is not None
    assert before.clip_norm == pytest.approx(AVERAGING.clip_norm / 2), "all four updates are shorter"
    more = (AVERAGING.clip_norm / before.clip_norm) ** 2
    assert after.variance == pytest.approx((1 + more) * before.variance, rel=0.2), "the shorter, the less noise"
    assert after.clip_norm == pytest.approx(2 * before.clip_norm), "and longer than that"


@pytest.mark.parametrize("kept", [b"", b"half a number", np.full(SHAPE, np.nan).tobytes(), np.ones((9, 9)).tobytes()])
def test_evidence_that_cannot_be_read_or_is_of_other_classes_begins_anew(kept: bytes) -> None:
    subject = Spending(policy=replace(POLICY, privacy=replace(PRIVACY, epsilon=1000.0)))
    with subject.fleet.store.transaction():
        subject.fleet.store.rows(NOISY_ROUNDS).put(NoisyRoundsRow(SPACE, 0.5, 1e30, kept))
    (head,) = heads(subject.next_round())
    with subject.fleet.store.transaction():
        row = subject.fleet.store.rows(NOISY_ROUNDS).get(SPACE)
    assert head.version == 1
    assert row is not None
    assert row.variance < 1e30


def test_fewer_devices_than_a_round_has_wait_for_the_others_however_long() -> None:
    subject = Spending()
    subject.next_round()
    subject.send("ab")
    assert not subject.fleet.pass_time(10 * AVERAGING.round_s + 1000.0)
    subject.send("c")
    assert heads(subject.fleet.pass_time())


def test_a_foreign_head_on_the_topic_brings_no_round_before_its_time() -> None:
    subject = Spending()
    subject.next_round()
    subject.send()
    subject.fleet.send(Received(topic(FLEET, ALL, Kind.HEAD), b"not a head", True))
    made = subject.fleet.pass_time(10.0)
    assert [head.version for head in heads(made)] == [1]
    assert len(subject.spent) == 1


def test_a_flood_of_one_device_keeps_no_others_update_out(store: Store) -> None:
    subject = Spending(store, replace(POLICY, limits=Limits(devices_max=5, pending_updates_max=10)))
    told = [subject.send("a") for _ in range(20)]
    assert [acks(effects)["a"][0].sequence for effects in told] == [*range(1, 21)], "it need not send them again"
    with store.transaction():
        assert store.update_count("a") == 2
    subject.send("bcd")
    with store.transaction():
        assert store.update_count() == 5
    assert not subject.fleet.refusals


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: replace(POLICY, privacy=replace(PRIVACY, unit=Unit.LABEL)), 'unit = "label".*set unit = "device"'),
        *(
            (lambda rule=rule: replace(POLICY, averaging=replace(AVERAGING, robust=rule)), f'robust = "{rule}".*"none"')
            for rule in Robust
            if rule is not Robust.NONE
        ),
        (lambda: replace(POLICY, limits=Limits(pending_updates_max=19_999)), "pending_updates_max = 19999.*raise it"),
    ],
)  # fmt: skip
def test_what_noise_cannot_hide_is_refused_in_one_line(make: Callable[[], Policy], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as refused:
        make()
    assert "\n" not in str(refused.value)


def test_the_server_refuses_to_start_with_a_robust_rule_and_noise(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = written(tmp_path, "")
    assert main(["serve", "--config", str(config)]) != 0
    assert 'robust = "aligned"' in capsys.readouterr().err
    assert not [*tmp_path.glob("*.db")]


@pytest.mark.parametrize("strategy", Strategy)
def test_every_strategy_goes_on_from_the_noisy_mean_alone(strategy: Strategy) -> None:
    subject = Spending(policy=replace(POLICY, averaging=replace(AVERAGING, strategy=strategy)))
    assert [head.version for made in (subject.next_round(), subject.next_round()) for head in heads(made)] == [1, 2]


def test_what_noise_turns_on_and_off_is_one_line() -> None:
    line = privacy_in_words(POLICY)
    for words in ("epsilon 8", "all labels of one device", "clip_norm = 0.5", "1 updates of a device", "norm_factor"):
        assert words in line
    exact = privacy_in_words(Policy(privacy=PrivacyPolicy(epsilon=1.0)))
    assert "for one label, 30 heads" in exact
    assert "norm_factor" not in exact


def test_the_settings_of_the_page_are_those_that_it_says(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "howto" / "privacy.md").read_text()
    blocks = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    config = tmp_path / "aggregator.toml"
    found = []
    for block in blocks:
        config.write_text(f'[fleet]\nname = "p"\n[bundle]\npath = "b"\n[storage]\nstate_dir = "."\n{block}')
        found.append(read_settings(config).policy)
    solved, averaged = found
    assert (solved.method, solved.privacy.unit) == (Method.EXACT, Unit.LABEL)
    assert (averaged.method, averaged.updates_per_device, averaged.averaging.updates_min) == (Method.AVERAGE, 20, 100)
    said = privacy_in_words(averaged)
    for name in re.findall(r"`(norm_factor|samples_max|round_s)`", page):
        assert name in said


def test_the_command_shows_what_a_round_waits_for_and_what_is_spent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    database = SqlStore(sqlite_url(tmp_path))
    subject = Spending(database)
    assert heads(subject.next_round())
    config = written(tmp_path, '[averaging]\nrobust = "none"\nupdates_min = 3\n')
    for sent in (0, 2):
        subject.send("ab"[:sent])
        assert main(["privacy", "--config", str(config)]) == 0
        out = capsys.readouterr().out
        assert f"{sent} devices have sent updates, a round has 3" in out
        assert "hides one device; " in out
        assert "is spent by 1 heads" in out
        assert "2 more heads" in out
    database.close()


def written(folder: Path, averaging: str) -> Path:
    config = folder / "aggregator.toml"
    config.write_text(
        f'[fleet]\nname = "plant"\n[bundle]\npath = "b.hwb"\n[storage]\nstate_dir = "{folder}"\n'
        '[publish]\nmethod = "average"\n[mqtt]\nhost = "127.0.0.1"\n'
        '[privacy]\nepsilon = 8.0\nunit = "device"\nheads_max = 3\ninterval_s = 100\n' + averaging
    )
    return config
