"""Thirty days without a network: bounded, nothing lost, counted once on return."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace

import pytest

from aggregator.policy import Method
from headway_simulation.rest import check_rest, unsettled
from headway_simulation.sensor import Sensor
from headway_simulation.sensor_file import SensorFile
from headway_simulation.world import World

DAY_S = 86_400.0
DAYS = 30
LABELS_A_DAY = 12
ROWS_MAX = 60


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Thousands of lost connections are no news here."""
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("method", Method)
def test_thirty_days_offline(method: Method) -> None:
    world = World(30, devices=2, hours=1.0, method=method)
    sync = replace(world.devices[0].config.sync, outbox_rows_max=ROWS_MAX)
    sensor = replace(world.devices[0].config.sensor, poll_interval_s=1800.0)
    learner = replace(world.devices[0].config.learner, update_labels=1)
    handed_in: list[SensorFile] = []
    peak_rows = 0
    for device in world.devices:
        device.config = replace(device.config, sync=sync, sensor=sensor, learner=learner)
    for machine in (*world.devices, world.server):
        machine.boot()
    world.until(DAY_S / 24)
    away = world.devices[0]
    world.broker.partition(away.name)
    source = Sensor(world.place.model, world.scheduler.chance("sensor"))
    for day in range(DAYS):
        for _ in range(LABELS_A_DAY):
            handed_in.append(source.labelled(1))
            away.drop(handed_in[-1])
            world.until(world.scheduler.now_s + DAY_S / LABELS_A_DAY)
            peak_rows = max(peak_rows, away.store.outbox_size()[0])
        if day == DAYS // 2:
            away.cut_power()
    assert away.history.steps == len(handed_in) == DAYS * LABELS_A_DAY
    assert peak_rows == (ROWS_MAX if method is Method.AVERAGE else 0)
    world.broker.heal(away.name)
    returned_s = world.scheduler.now_s
    while unsettled([away], world.server, world.invariants):
        world.until(world.scheduler.now_s + 60.0)
        assert world.scheduler.now_s < returned_s + DAY_S
    check_rest([away], world.server, world.invariants)
    counted = world.server.core.statistics.samples if world.server.core is not None else 0
    if method is Method.EXACT:
        assert counted == len(handed_in)
    else:
        waiting = len(handed_in) - away.history.covered
        assert waiting == int(str(away.loop.agent.learner.trainer.state()[1]["since_base"])) if away.loop else False
