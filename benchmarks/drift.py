"""Drift alarms: false ones on streams where nothing changes, delay where something does, and what an alarm is worth.

python -m benchmarks.drift          river's detectors run on the same errors where river is installed
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.stream import Stream
from edge_agent.learner.drift import ErrorDrift, FeatureShift
from headway.arrays import Float64, Int8

CHANGE = 2000
RATES = ((0.02, None), (0.1, None), (0.3, None), (0.02, 0.3), (0.1, 0.2), (0.1, 0.3), (0.1, 0.5), (0.3, 0.6))
# an alarm later than this is no answer to the change
WAIT = 2000
LABELS_BEFORE, LABELS_AFTER = 300, 200

Alarm = Callable[[float, int], bool]


@dataclass(frozen=True, slots=True)
class Row:
    """Alarms of one detector on streams of one kind. delays: labels from the change to the first alarm."""

    false_alarms: int
    labels: int
    delays: list[int]
    extra: int
    missed: int
    microseconds: float


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.drift", description=__doc__)
    parser.add_argument("--streams", type=int, default=100, help="streams per row (default 100)")
    parser.add_argument("--seeds", type=int, default=5, help="devices in the last table (default 5)")
    options = parser.parse_args(arguments)
    columns = ("error rate", "detector", "false alarms per 100,000 labels", "delay, median", "90 %", "further alarms")
    print(f"| {' | '.join(columns)} | missed | us |\n{'|---' * 8}|")
    for before, after in RATES:
        for name, build in _detectors().items():
            _print_row(before, after, name, judge(build, before, after, options.streams))
    _print_shift(options.streams)
    _print_worth(options.seeds)


def judge(build: Callable[[], Alarm], before: float, after: float | None, streams: int) -> Row:
    """One detector on `streams` streams of zeros and ones; the rate changes at `CHANGE`, if at all."""
    false_alarms = labels = extra = missed = 0
    delays: list[int] = []
    spent_s = 0.0
    for seed in range(streams):
        rates = np.full(CHANGE + WAIT, before)
        if after is not None:
            rates[CHANGE:] = after
        errors = (np.random.default_rng(seed).random(len(rates)) < rates).astype(float).tolist()
        alarm = build()
        start = time.perf_counter()
        alarms = [number for number, error in enumerate(errors) if alarm(error, number)]
        spent_s += time.perf_counter() - start
        late = [number for number in alarms if number >= CHANGE] if after is not None else []
        false_alarms += len(alarms) - len(late)
        labels += CHANGE if after is not None else len(errors)
        if late:
            delays.append(late[0] - CHANGE)
            extra += len(late) - 1
        elif after is not None:
            missed += 1
    return Row(false_alarms, labels, delays, extra, missed, 1e6 * spent_s / (streams * (CHANGE + WAIT)))


def _detectors() -> dict[str, Callable[[], Alarm]]:
    def ours(kind: str) -> Alarm:
        subject = ErrorDrift(kind)
        return lambda error, number: subject.add(error, number) is not None

    detectors: dict[str, Callable[[], Alarm]] = {
        "Headway ADWIN": lambda: ours("adwin"),
        "Headway Page-Hinkley": lambda: ours("page-hinkley"),
    }
    if importlib.util.find_spec("river") is None:
        print("river is not installed, so its detectors are left out: pip install river\n")
        return detectors
    from river import drift

    def rivers(subject: drift.ADWIN | drift.PageHinkley) -> Alarm:
        def alarm(error: float, number: int) -> bool:
            subject.update(error)
            return bool(subject.drift_detected)

        return alarm

    return detectors | {
        "river ADWIN, defaults": lambda: rivers(drift.ADWIN()),
        "river Page-Hinkley, defaults": lambda: rivers(drift.PageHinkley()),
        "river Page-Hinkley, our settings": lambda: rivers(
            drift.PageHinkley(min_instances=30, delta=0.05, threshold=15.0, alpha=0.9999, mode="up")
        ),
    }


def _print_row(before: float, after: float | None, name: str, row: Row) -> None:
    change = f"{before:g}" if after is None else f"{before:g} -> {after:g}"
    median, late = ("-", "-") if not row.delays else (f"{q:.0f}" for q in np.percentile(row.delays, [50, 90]))
    false_rate = 1e5 * row.false_alarms / row.labels
    further, missed = ("-", "-") if after is None else (str(row.extra), str(row.missed))
    cells = (change, name, f"{false_rate:.1f}", median, late, further, missed, f"{row.microseconds:.1f}")
    print(f"| {' | '.join(cells)} |")


def _print_shift(streams: int) -> None:
    """Without labels: runs of one class of random length, then every feature moved by a part of its deviation."""
    stream = Stream(64, 6)
    print("\n| features moved by | false alarms per 100,000 windows | delay in windows, median | 90 % | missed |")
    print("|---|---|---|---|---|")
    for moved in (0.0, 0.25, 0.5, 1.0):
        false_alarms, delays, missed = 0, [], 0
        for seed in range(streams):
            alarms = _shift_alarms(stream, seed, moved)
            late = [window for window in alarms if window > 4 * CHANGE and moved]
            false_alarms += len(alarms) - len(late)
            delays += [late[0] - 4 * CHANGE] if late else []
            missed += bool(moved) and not late
        rate = 1e5 * false_alarms / (streams * 4 * CHANGE)
        median, worst = ("-", "-") if not delays else (f"{q:.0f}" for q in np.percentile(delays, [50, 90]))
        print(f"| {moved:g} deviations | {rate:.1f} | {median} | {worst} | {missed} |")


def _shift_alarms(stream: Stream, seed: int, moved: float) -> list[int]:
    random = np.random.default_rng(seed)
    count = 4 * CHANGE + (CHANGE if moved else 0)
    x, y = stream.windows(count, seed)
    lengths = random.integers(1, 80, count)
    by_class = [np.flatnonzero(y == c) for c in range(6)]
    runs = np.repeat(random.integers(0, 6, count), lengths)[:count]
    rows = np.array([by_class[c][n % len(by_class[c])] for n, c in enumerate(runs)])
    x = x[rows]
    deviation: Float64 = x.std(axis=0)
    x[4 * CHANGE :] += moved * deviation * random.choice([-1.0, 1.0], x.shape[1])
    codes: Int8 = stream.features(x).codes
    subject = FeatureShift(stream.variant.training_statistics)
    found = [subject.add(codes[start : start + 32]) for start in range(0, count, 32)]
    return [alarm.window for alarm in found if alarm is not None]


def _print_worth(seeds: int) -> None:
    """A device learns some labels, then its features change places; each label comes after its prediction."""
    stream = Stream(64, 6)
    print(f"\n| {LABELS_BEFORE} labels, then drift: accuracy on the next | 1 to 100 | 101 to {LABELS_AFTER} |")
    print("|---|---|---|")
    for kind in ("off", "adwin", "page-hinkley"):
        scores = np.array([_after_drift(stream, seed, kind) for seed in range(seeds)])
        cells = [f"{m:.3f} ± {s:.3f}" for m, s in zip(scores.mean(axis=0), scores.std(axis=0), strict=True)]
        print(f"| drift = {kind!r} | {' | '.join(cells)} |".replace("'", '"'))


def _after_drift(stream: Stream, seed: int, kind: str) -> tuple[float, float]:
    subject = stream.agent(drift=kind)
    x, y = stream.windows(LABELS_BEFORE, 100 + seed)
    subject.process(stream.features(x), y)
    x, y = stream.windows(LABELS_AFTER, 200 + seed, drift=True)
    right = subject.process(stream.features(x), y).prediction == y
    return float(right[:100].mean()), float(right[100:].mean())


if __name__ == "__main__":
    main()
