"""A device tries a head that the fleet may get: saved with each label, told on each connection, never taken up."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from headway.maths import Head, HeadInput, PairedLoss
from headway.ports import Connected, Received
from headway.wire import Kind, PublishedHead, TrialReport, topic
from tests.device import Device
from tests.edge_agent.test_trial import feed
from tests.edge_agent.variants import variant


def candidate(version: int = 1, *, mixed_up: bool = False, space: str = "") -> bytes:
    """The frozen head as one over codes, or one with its classes mixed up."""
    old = variant()
    kernel = (old.head.kernel * (old.features.scale / np.float32(127))[:, None]).astype(np.float32)
    order = [1, 2, 0] if mixed_up else [0, 1, 2]
    head = Head(kernel[:, order].copy(), old.head.bias[order], old.task.link, old.classes, HeadInput.CODES)
    return PublishedHead(version, "exact", space or old.space, 3, 300, head).encode()


def told(device: Device) -> list[TrialReport]:
    return [TrialReport.decode(payload) for payload in device.wire.of(Kind.HEAD_TRIAL)]


def give(device: Device, payload: bytes) -> None:
    device.loop.handle(Received(topic("test", "pump", Kind.CANDIDATE), payload))


@pytest.fixture
def device(tmp_path: Path) -> Device:
    device = Device(tmp_path)
    device.loop.handle(Connected(False))
    return device


def test_a_head_is_compared_on_each_label_and_goes_on_after_a_start(device: Device) -> None:
    give(device, candidate(mixed_up=True))
    feed(device, "a", 1)
    assert [report.state for report in told(device)] == ["running"]
    device.boot()
    device.loop.handle(Connected(False))
    give(device, candidate(mixed_up=True))  # once more: nothing begins anew
    feed(device, "b", 2)
    report = device.loop.agent.head_trial.report
    assert report is not None
    assert (report.sha256, report.frozen.count) == (hashlib.sha256(candidate(mixed_up=True)).hexdigest(), 36)
    assert report.frozen.total > 0.3 * 36 * 2**16
    assert device.loop.agent.learner.fleet_head is None
    device.turn(31.0)
    assert told(device)[-1] == report


def test_the_same_head_is_no_worse_and_a_new_one_takes_its_place(device: Device) -> None:
    payload = candidate()
    device.loop.handle(Received(topic("test", "_all", Kind.HEAD), payload, True))
    give(device, payload)
    feed(device, "a", 1)
    report = device.loop.agent.head_trial.report
    assert report is not None
    assert report.frozen == report.served == PairedLoss(18)
    give(device, candidate(2, mixed_up=True))
    report = device.loop.agent.head_trial.report
    assert report is not None
    assert report.frozen.count == 0


def test_a_withdrawn_head_leaves_nothing(device: Device) -> None:
    give(device, candidate())
    feed(device, "a", 1)
    give(device, b"")
    device.turn()
    assert [name for name in device.loop.store.current.load() if name.startswith("head-trial")] == []
    device.boot()
    assert device.loop.agent.head_trial.report is None


def test_a_head_of_another_bundle_is_told_and_not_tried(device: Device) -> None:
    give(device, candidate(space="9" * 64))
    feed(device, "a", 1)
    (report,) = told(device)
    assert (report.state, report.frozen.count) == ("failed", 0)
    assert "another feature space" in report.problem


def test_bytes_that_are_no_head_are_refused(device: Device) -> None:
    give(device, b"nonsense")
    assert device.loop.refused == 1
    assert device.loop.agent.head_trial.report is None


def test_a_device_that_tries_nothing_ignores_it(device: Device) -> None:
    device.config = replace(device.config, trial=replace(device.config.trial, enabled=False))
    device.boot()
    give(device, candidate())
    assert device.loop.agent.head_trial.report is None
