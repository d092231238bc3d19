"""A bundle on trial is judged on the device's own labels, each once whatever fails, and never changes learning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from edge_agent.pipeline import Pipeline
from edge_agent.trial import InProcess, Shadow, Shadowed, TrialFailed
from edge_agent.trial_settings import TrialSettings
from headway.arrays import Float32
from headway.bundle.variant import Variant
from headway.maths import PAIRED_STEP, PairedLoss
from headway.maths.statistics import Statistics
from headway.wire import TrialReport
from tests.device import Device
from tests.edge_agent.variants import CLASSES, SIZE, IdentityRuntime, variant, windows
from tests.nightly import nightly

NEW = "2" * 64


class Shuffled(IdentityRuntime):
    """A backbone whose weights were mixed up: every embedding comes in another order."""

    def embed(self, inputs: Float32) -> Float32:
        return np.ascontiguousarray(super().embed(inputs)[:, ::-1])


class Dulled(IdentityRuntime):
    """A backbone that sees only what tells nothing."""

    def embed(self, inputs: Float32) -> Float32:
        return np.where(np.arange(SIZE) < 4, np.float32(0), super().embed(inputs)).astype(np.float32)


def elsewhere() -> Variant:
    """The same model with coarser codes: another feature space."""
    old = variant()
    features = replace(old.features, scale=old.features.scale * np.float32(1.5))
    x, y = windows(600, seed=99)
    space = features.fingerprint("coarser")
    return replace(
        old, features=features, training_statistics=Statistics.of(features.codes(x)[0], y, CLASSES, space), release=2
    )


def shadow(of: Variant, runtime: IdentityRuntime | None = None) -> InProcess:
    return InProcess(Pipeline(of, runtime or IdentityRuntime()))


@dataclass
class Breaks:
    """Works for so many windows."""

    windows: int
    inner: Shadow
    closed: bool = False

    def ready(self) -> bool:
        return True

    def features(self, window: Float32) -> Shadowed:
        self.windows -= 1
        if self.windows < 0:
            raise TrialFailed("the process of the new bundle ended with code -11")
        return self.inner.features(window)

    def close(self) -> None:
        self.closed = True


def begin(device: Device, tried: Variant, through: Shadow | None = None) -> None:
    device.loop.agent.trial.begin(NEW, variant(), tried, through or shadow(tried))


def feed(device: Device, name: str, seed: int, count: int = 18, **parts: bool) -> None:
    """Windows with ids and labels; parts: leave ``labels`` or ``windows`` out."""
    x, y = windows(count, drift=0.5, seed=seed)
    ids = np.array([f"{seed}-{row}" for row in range(count)])
    arrays = {"x": x, "y": y, "id": ids}
    for part, key in (("labels", "y"), ("windows", "x")):
        if parts.get(part) is False:
            del arrays[key]
    path = device.folder / f".{name}.npz"
    np.savez(path, **arrays)  # type: ignore[arg-type]
    path.rename(device.folder / "spool" / f"{name}.npz")
    device.turn(1.0)


def mean(sums: PairedLoss) -> float:
    return sums.total / sums.count * PAIRED_STEP


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return Device(tmp_path)


def test_the_same_bundle_is_neither_better_nor_worse(device: Device) -> None:
    begin(device, variant())
    feed(device, "a", 1)
    feed(device, "b", 2, labels=False)
    feed(device, "c", 2, windows=False)
    report = device.loop.agent.trial.report
    assert (report.sha256, report.state, report.frozen.count, report.served.count) == (NEW, "running", 36, 36)
    assert report.frozen == report.served == PairedLoss(36)
    assert device.loop.agent.trial.kept == 0


@pytest.mark.parametrize("tried", [variant(), elsewhere()], ids=["same space", "another space"])
def test_a_backbone_that_was_spoilt_is_worse(device: Device, tried: Variant) -> None:
    feed(device, "before", 9)
    begin(device, tried, shadow(tried, Dulled()))
    feed(device, "a", 1)
    feed(device, "b", 2)
    report = device.loop.agent.trial.report
    assert report.served.count == 36
    assert mean(report.frozen) > 0.15
    assert mean(report.served) > 0.15


def test_in_another_space_a_good_bundle_does_not_lose_to_labels_from_before(device: Device) -> None:
    for number in range(4):
        feed(device, f"before-{number}", 10 + number)
    begin(device, elsewhere())
    feed(device, "a", 1)
    feed(device, "b", 2)
    report = device.loop.agent.trial.report
    assert report.served.count == 36
    assert abs(mean(report.frozen)) < 0.01
    assert abs(mean(report.served)) < 0.05


@pytest.mark.parametrize(
    "through",
    [
        lambda: (variant(), shadow(variant())),
        lambda: (elsewhere(), shadow(elsewhere(), Shuffled())),
        lambda: (elsewhere(), Breaks(20, shadow(elsewhere()))),
        lambda: (replace(variant(), features=elsewhere().features), shadow(elsewhere())),
    ],
    ids=["same", "bad", "breaks", "does not fit"],
)
@pytest.mark.parametrize("kind", ["exact", nightly("gradient")])
def test_learning_and_answers_are_the_same_bits_with_a_trial(
    tmp_path: Path, kind: str, through: Callable[[], tuple[Variant, Shadow]]
) -> None:
    found = []
    for name in ("with", "without"):
        (tmp_path / name).mkdir()
        device = Device(tmp_path / name, kind=kind)
        if name == "with":
            begin(device, *through())
        feed(device, "a", 1)
        feed(device, "b", 2, labels=False)
        feed(device, "c", 3)
        feed(device, "d", 2, windows=False)
        device.boot()
        if name == "with" and device.loop.agent.trial.running:
            begin(device, *through())
        feed(device, "e", 4)
        answers = [np.load(device.folder / "predictions" / f"{file}.npz")["probability"].tobytes() for file in "abce"]
        found.append((device.loop.agent.learner.encode(), answers))
    assert found[0] == found[1]


@pytest.mark.parametrize("tried", [nightly(variant()), elsewhere()], ids=["same space", "another space"])
def test_a_label_counts_once_whatever_is_cut_off(tmp_path: Path, tried: Variant) -> None:
    """The power goes before each commit in turn; the file is taken in again, and so are its labels."""
    sums = []
    for name in ("cut", "whole"):
        (tmp_path / name).mkdir()
        device = Device(tmp_path / name)
        begin(device, tried, shadow(tried, Shuffled()))
        feed(device, "a", 1, labels=False)
        for number in range(2, 5):
            if name == "cut":
                device.boot()
                assert device.loop.agent.trial.running
                begin(device, tried, shadow(tried, Shuffled()))
            feed(device, str(number), number)
        feed(device, "late", 1, windows=False)
        sums.append(device.loop.agent.trial.report)
    assert sums[0].served.count == sums[1].served.count == 72
    if tried.space != variant().space:
        assert (sums[0].frozen, sums[0].served) == (sums[1].frozen, sums[1].served)


def test_what_is_not_committed_is_not_counted(device: Device) -> None:
    begin(device, elsewhere())
    feed(device, "a", 1)
    x, y = windows(10, drift=0.5, seed=5)
    agent = device.loop.agent
    features = Pipeline(variant(), IdentityRuntime()).features(x)
    agent.trial.see(x, features, None, y)
    agent.process(features, y)
    assert agent.trial.report.served.count == 28
    device.boot()
    assert device.loop.agent.trial.report.served.count == 18


def test_a_corrected_label_leaves_no_mark(tmp_path: Path) -> None:
    """Right at once, corrected, or taken back: what counts is what the labels say in the end."""
    reports = []
    x, y = windows(30, drift=0.5, seed=1)
    ids = [f"w{row}" for row in range(30)]
    wrong = (y + (np.arange(30) % 3 == 0)) % 3
    for first in (y, wrong):
        folder = tmp_path / str(len(reports))
        folder.mkdir()
        device = Device(folder)
        begin(device, elsewhere(), shadow(elsewhere(), Shuffled()))
        agent, features = device.loop.agent, Pipeline(variant(), IdentityRuntime()).features(x)
        agent.trial.see(x, features, ids, first)
        agent.process(features, first, ids)
        agent.label(ids, y)
        agent.label(ids[:2], np.array([-1, -1]))
        device.loop.store.commit(agent.changes(), 0.0)
        reports.append(agent.trial.report)
        device.boot()
        assert device.loop.agent.trial.report.frozen == reports[-1].frozen
    assert reports[0].frozen == reports[1].frozen
    assert reports[0].served.count == reports[1].served.count == 28


def test_a_bundle_that_breaks_ends_its_trial_and_says_why(device: Device) -> None:
    breaks = Breaks(7, shadow(variant()))
    begin(device, variant(), breaks)
    feed(device, "a", 1)
    report = device.loop.agent.trial.report
    assert (report.state, report.problem) == ("failed", "the process of the new bundle ended with code -11")
    assert breaks.closed
    assert device.loop.agent.learner.labels == 18
    device.boot()
    assert device.loop.agent.trial.report == report
    assert device.loop.agent.trial.kept == 0


def test_windows_are_kept_within_their_limits_and_gone_after_the_trial(device: Device) -> None:
    device.config = replace(device.config, trial=TrialSettings(kept_bytes_max=4096, labels_max=8))
    device.boot()
    begin(device, variant())
    trial = device.loop.agent.trial
    feed(device, "a", 1, count=140, labels=False)
    assert (trial.kept, trial.dropped) == (128, 140 - 128) == (4096 // (4 * SIZE), 12)
    feed(device, "b", 1, count=140, windows=False)
    assert trial.report.served.count == 8
    feed(device, "c", 2)
    assert trial.report.served.count == 8
    device.boot()
    assert device.loop.agent.trial.report.served.count == 8
    counter = device.loop.agent.trial.report.counter
    device.loop.agent.trial.end()
    device.loop.store.commit(device.loop.agent.changes(), 0.0)
    saved = device.loop.store.current.load()
    assert [name for name in saved if name.startswith("trial/")] == []
    assert device.loop.agent.trial.report == TrialReport("", 0, "none")
    # the same bundle once more: what is told now must count as newer
    device.boot()
    begin(device, variant())
    assert device.loop.agent.trial.report.counter > counter


def test_a_new_class_and_one_that_the_new_bundle_lacks_are_compared_too(device: Device) -> None:
    begin(device, elsewhere())
    agent = device.loop.agent
    agent.add_class("jump")
    x, y = windows(30, drift=0.5, seed=1)
    y[::5] = 3
    features = Pipeline(variant(), IdentityRuntime()).features(x)
    agent.trial.see(x, features, None, y)
    agent.process(features, y)
    report = agent.trial.report
    assert (report.state, report.served.count) == ("running", 30)
    assert abs(mean(report.served)) < 0.05
