"""Change detectors: against river on the same streams, saved and restored, in little memory."""

from __future__ import annotations

import numpy as np
import pytest

from edge_agent.learner.drift.detectors import Adwin, Detector, PageHinkley
from headway.arrays import Float64
from headway.errors import StoreError

DETECTORS = (Adwin, PageHinkley)


def stream(seed: int) -> list[float]:
    """Errors whose rate changes twice; every other stream is of fractions instead of zeros and ones."""
    random = np.random.default_rng(seed)
    rates = np.repeat(random.uniform(0.02, 0.9, 3), (600, 400, 300))
    if seed % 2:
        return [float(v) for v in np.clip(rates + random.normal(0, 0.1, len(rates)), 0, 1)]
    return [float(v) for v in random.random(len(rates)) < rates]


@pytest.mark.parametrize("seed", range(20))
def test_adwin_is_rivers_up_to_the_first_cut(seed: int) -> None:
    """After it ours drops all that lies before the strongest cut, where river drops bucket by bucket."""
    drift = pytest.importorskip("river.drift", reason="river is the oracle here; pip install river")
    oracle, subject = drift.ADWIN(delta=0.002, clock=8), Adwin(0.002, 8)
    for value in stream(seed):
        width = subject.width
        oracle.update(value)
        subject.add(value)
        cut = subject.width <= width
        assert oracle.drift_detected == cut
        if cut:
            return
        assert (oracle.width, oracle.estimation) == (subject.width, pytest.approx(subject.mean))


@pytest.mark.parametrize("seed", range(20))
def test_page_hinkley_is_rivers(seed: int) -> None:
    drift = pytest.importorskip("river.drift", reason="river is the oracle here; pip install river")
    oracle = drift.PageHinkley(min_instances=30, delta=0.05, threshold=15.0, alpha=0.9999, mode="up")
    subject = PageHinkley(0.05, 15.0, 0.9999, 30)
    for value in stream(seed):
        oracle.update(value)
        assert (subject.add(value) is not None) == oracle.drift_detected


@pytest.mark.parametrize("kind", DETECTORS)
def test_a_rise_is_found_and_says_where_it_began(kind: type[Adwin | PageHinkley]) -> None:
    random = np.random.default_rng(3)
    subject, found = kind(), []
    for number, rate in enumerate([0.05] * 500 + [0.6] * 100):
        rise = subject.add(float(random.random() < rate))
        if rise is not None:
            found.append((number, rise))
    number, rise = found[0]
    assert 500 <= number < 560
    assert abs(number + 1 - rise.ago - 500) <= 64
    assert rise.before == pytest.approx(0.05, abs=0.05)
    assert rise.after > rise.before + 0.2


@pytest.mark.parametrize("kind", DETECTORS)
def test_getting_better_is_no_alarm(kind: type[Adwin | PageHinkley]) -> None:
    random = np.random.default_rng(4)
    subject = kind()
    assert all(subject.add(float(random.random() < rate)) is None for rate in [0.6] * 400 + [0.05] * 600)


@pytest.mark.parametrize("kind", DETECTORS)
def test_saved_and_restored_it_goes_on_to_the_bit(kind: type[Adwin | PageHinkley]) -> None:
    values = stream(5)
    whole: Detector = kind()
    expected = [whole.add(value) for value in values]
    part: Detector = kind()
    found = [part.add(value) for value in values[:777]]
    other: Detector = kind()
    other.restore(part.state())
    found += [other.add(value) for value in values[777:]]
    assert found == expected
    np.testing.assert_array_equal(other.state(), whole.state())


def test_memory_grows_with_the_logarithm() -> None:
    subject = Adwin()
    for _ in range(20_000):
        subject.add(0.0)
    assert subject.width == 20_000
    assert subject.state().nbytes < 2000


@pytest.mark.parametrize(
    ("subject", "state"),
    [
        (Adwin(), np.zeros((0, 3))),
        (Adwin(), np.zeros(3)),
        (Adwin(), np.array([[1.0, 1.0, 0.0], [99.0, 1.0, 0.0]])),
        (Adwin(), np.array([[1.0, np.nan, 0.0]])),
        (PageHinkley(), np.zeros(5)),
        (PageHinkley(), np.array([1.0, np.nan, 0, 0, 0, 0])),
    ],
)
def test_a_damaged_state_is_refused(subject: Detector, state: Float64) -> None:
    with pytest.raises(StoreError, match="damaged"):
        subject.restore(state)
