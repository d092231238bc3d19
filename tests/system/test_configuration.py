"""Settings from afar between real programs: asked for on the command line, in force on the device, over every kill."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from testbed.broker import Broker
from tests.system.commands import output_of
from tests.system.conftest import Device, wait_until
from tests.system.make_model import data
from tests.system.test_agent import status

pytestmark = [pytest.mark.system, pytest.mark.broker]
NewDevice = Callable[..., Device]
StartAggregator = Callable[[Broker], "subprocess.Popen[bytes]"]


def fleet(state_dir: Path, *words: str, process: bool = False) -> str:
    return output_of("edge-fleet", words[0], "--state-dir", state_dir, *words[1:], process=process)


def configuration(state_dir: Path, device: str, *, process: bool = False) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(fleet(state_dir, "configuration", device, "--json", process=process))
    return found


def test_settings_hold_on_the_device_whatever_is_killed(
    new_device: NewDevice, aggregator: StartAggregator, fresh_broker: Broker, tmp_path: Path
) -> None:
    server, state_dir = aggregator(fresh_broker), tmp_path / "aggregator"
    device = new_device("pump", fresh_broker, extra="[remote]\ntrial_s = 0.5\n")
    device.start()
    x, y = data(6, seed=5)
    device.drop("a", x=x, y=y)
    wait_until(lambda: device.answers() == {"a"}, "an answer")
    wait_until((state_dir / "aggregator.sqlite").exists, "the aggregator's store")
    wait_until(lambda: "pump" in fleet(state_dir, "devices", "--json"), "the device in the registry")
    wait_until(lambda: configuration(state_dir, "pump")["reported_version"] == 0, "what the device can be told")
    fleet(state_dir, "configure", "--device", "pump", "sync.interval_s=0.3", "policy.trigger=never", process=True)
    wait_until(lambda: configuration(state_dir, "pump")["reported_version"] == 1, "the device's answer")
    seen = configuration(state_dir, "pump", process=True)
    assert seen["reported"]["sync.interval_s"] == 0.3
    assert "trigger" in seen["refused"]["policy.trigger"]
    assert status(device)["labels"] == 6
    server.kill()
    server.wait()
    device.kill()
    device.start()
    aggregator(fresh_broker)
    fleet(state_dir, "configure", "--everybody", "learner.gate_margin=2")
    wait_until(lambda: configuration(state_dir, "pump")["reported"].get("learner.gate_margin") == 2, "the next version")
    wait_until(lambda: configuration(state_dir, "pump")["state"] == "refused", "the end of the trial")
    assert configuration(state_dir, "pump")["reported"]["sync.interval_s"] == 0.3
    assert device.stop() == 0
    shown = status(device)["configuration"]
    assert shown["version"] == 2
    assert shown["from_afar"] == {"learner.gate_margin": 2, "sync.interval_s": 0.3}
    assert status(device)["labels"] == 6, "nothing learned is lost by starting again"
