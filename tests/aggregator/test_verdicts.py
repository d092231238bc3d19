"""A stage passes when its devices' labels say that the new bundle is no worse, and unknown devices never say so."""

from __future__ import annotations

import numpy as np
import pytest

from aggregator.rollouts.verdict import Comparison, Criteria, Outcome, compared, judged
from headway.maths import PAIRED_STEP, PairedLoss
from headway.maths.paired_loss import COUNT_MAX, DIFFERENCE_MAX

CRITERIA = Criteria(margin=0.05, errors=2.0, windows_min=50, devices_min=3)


def fleet(worse: float, devices: int, windows: int, seed: int, spread: float = 0.1) -> dict[str, PairedLoss]:
    """Devices whose new bundle loses `worse` more a window on average, each by its own amount."""
    random = np.random.default_rng(seed)
    sums = {}
    for device in range(devices):
        own = worse + spread * random.normal()
        old = random.uniform(0, 1, windows)
        new = np.clip(old + own + 0.4 * random.normal(size=windows), 0, 2)
        sums[f"d{device}"] = PairedLoss.of(new, old)
    return sums


def share(outcome: Outcome, worse: float, devices: int = 20, windows: int = 30, criteria: Criteria = CRITERIA) -> float:
    verdicts = [
        judged(compared(fleet(worse, devices, windows, seed).values()), criteria).outcome for seed in range(200)
    ]
    return verdicts.count(outcome) / len(verdicts)


def test_a_bad_bundle_hardly_ever_passes_and_a_good_one_hardly_ever_fails() -> None:
    assert share(Outcome.FAILED, 0.4) == 1.0
    assert share(Outcome.PASSED, 0.15) == 0.0
    assert share(Outcome.PASSED, -0.2) > 0.98
    assert share(Outcome.FAILED, -0.05) == 0.0


def test_devices_that_differ_are_no_more_evidence_for_having_many_windows_each() -> None:
    few, many = (compared(fleet(0.0, 8, windows, 1, spread=0.3).values()).error for windows in (30, 3000))
    assert many > 0.5 * few


def test_without_labels_nothing_is_decided() -> None:
    unknown = {f"d{device}": PairedLoss() for device in range(1000)}
    assert compared(unknown.values()) == Comparison(0, 0, 0.0, np.inf, 0.0)
    assert judged(compared(unknown.values()), CRITERIA).outcome is Outcome.UNDECIDED
    # neither do a thousand devices without labels beside two that have many
    two = unknown | fleet(-0.5, 2, 500, 1)
    assert judged(compared(two.values()), CRITERIA).outcome is Outcome.UNDECIDED
    assert "50 windows of 3 devices are needed" in judged(compared(two.values()), CRITERIA).why
    assert judged(compared((unknown | fleet(-0.5, 3, 500, 1)).values()), CRITERIA).outcome is Outcome.PASSED


def test_one_device_alone_tells_no_error() -> None:
    one = Criteria(margin=0.05, errors=2.0, windows_min=1, devices_min=1)
    assert judged(compared(fleet(-0.5, 1, 500, 1).values()), one).outcome is Outcome.UNDECIDED
    assert judged(compared(fleet(1.5, 1, 500, 1).values()), one).outcome is Outcome.UNDECIDED


def test_the_same_differences_on_every_window_are_certain() -> None:
    same = {name: PairedLoss.of(np.full(50, 0.75), np.full(50, 0.5)) for name in "abc"}
    assert compared(same.values()) == Comparison(3, 150, 0.25, 0.0, 0.25)
    assert judged(compared(same.values()), CRITERIA).outcome is Outcome.FAILED


def test_sums_add_in_any_order_and_differences_are_bounded() -> None:
    random = np.random.default_rng(0)
    new, old = random.uniform(0, 2, 60), random.uniform(0, 2, 60)
    parts = [PairedLoss.of(new[at : at + 7], old[at : at + 7]) for at in range(0, 60, 7)]
    total = PairedLoss()
    for part in reversed(parts):
        total += part
    assert total == PairedLoss.of(new, old)
    assert total.total * PAIRED_STEP == pytest.approx((new - old).sum(), abs=60 * PAIRED_STEP)
    assert PairedLoss.of(np.array([1e9]), np.zeros(1)) == PairedLoss.of(np.array([4.0]), np.zeros(1))
    assert not total.inconsistency()


@pytest.mark.parametrize(
    "sums",
    [
        PairedLoss(-1, 0, 0),
        PairedLoss(COUNT_MAX + 1, 0, 0),
        PairedLoss(1, 1 << 20, 1 << 40),
        PairedLoss(2, 10, -1),
        PairedLoss(0, 0, 1),
        PairedLoss(4, 100, 2499),
    ],
)
def test_sums_that_no_windows_can_have_made_are_told(sums: PairedLoss) -> None:
    assert sums.inconsistency()


def test_what_one_device_claims_is_no_more_evidence_than_what_the_others_have() -> None:
    few = fleet(0.0, 4, 10, 1)
    assert compared([*few.values(), PairedLoss(COUNT_MAX)]).windows == 50
    assert compared([PairedLoss(1000), PairedLoss(1000), PairedLoss(10)]).windows == 2010


@pytest.mark.parametrize("devices", [3, 4, 5, 6, 10, 31, 40])
@pytest.mark.parametrize("windows", [20, 30, 200])
def test_one_device_turns_no_verdict_however_many_windows_it_claims(devices: int, windows: int) -> None:
    """It says much, and exactly the same of each window; the others are sure of the contrary."""
    steps = [round(claimed / PAIRED_STEP) for claimed in (-DIFFERENCE_MAX, -0.5, 0.5, DIFFERENCE_MAX)]
    liars = [PairedLoss(COUNT_MAX, COUNT_MAX * step, COUNT_MAX * step**2) for step in steps]
    for truth, wrong in ((-0.2, Outcome.FAILED), (0.4, Outcome.PASSED)):
        for seed in range(20):
            others = [*fleet(truth, devices - 1, windows, seed).values()]
            for liar in liars:
                assert judged(compared([*others, liar]), CRITERIA).outcome is not wrong
    # nor is it enough to have told of windows, where the others have next to none
    few = [PairedLoss.of(np.full(2, 0.5), np.full(2, 0.5))] * (devices - 1)
    for liar in liars if devices < 20 else ():
        assert judged(compared([*few, liar]), CRITERIA).outcome is Outcome.UNDECIDED


@pytest.mark.parametrize("devices", [5, 10, 50, 200])
@pytest.mark.parametrize("claimed", [1, 30, COUNT_MAX])
def test_a_third_of_the_devices_that_say_the_same_turn_no_verdict(devices: int, claimed: int) -> None:
    for each, truth, wrong in ((4.0, -0.2, Outcome.FAILED), (-4.0, 0.4, Outcome.PASSED)):
        step, liars = round(each / PAIRED_STEP), devices // 3
        said = [PairedLoss(claimed, claimed * step, claimed * step**2)] * liars
        for seed in range(10):
            others = [*fleet(truth, devices - liars, 30, seed).values()]
            assert judged(compared([*others, *said]), CRITERIA).outcome is not wrong


@pytest.mark.parametrize(("devices", "worse"), [(3, 3), (6, 5), (10, 6), (50, 26), (200, 102)])
def test_what_is_worse_for_most_devices_fails_though_it_is_none_for_the_others(devices: int, worse: int) -> None:
    for seed in range(50):
        uneven = [
            *fleet(0.6, worse - worse // 2, 60, seed).values(),
            *fleet(0.6, worse // 2, 20, 100 + seed).values(),
            *fleet(0.0, devices - worse, 40, 200 + seed).values(),
        ]
        assert judged(compared(uneven), CRITERIA).outcome is Outcome.FAILED


def test_devices_that_tried_about_as_much_count_for_all_their_windows() -> None:
    uneven = [*fleet(0.0, 6, 40, 1).values(), *fleet(0.0, 6, 70, 2).values()]
    assert compared(uneven).windows == 6 * 40 + 6 * 70
    assert compared([*uneven, *fleet(0.0, 1, 3000, 3).values()]).windows == 6 * 40 + 7 * 70


def test_what_only_a_fifth_of_many_devices_says_is_left_open_and_said_so() -> None:
    some = [*fleet(-0.1, 160, 30, 1).values(), *fleet(1.2, 40, 30, 2).values()]
    verdict = judged(compared(some), CRITERIA)
    assert verdict.outcome is Outcome.UNDECIDED
    assert "without the third at either end -0." in verdict.why
