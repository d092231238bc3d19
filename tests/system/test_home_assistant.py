"""A real agent on a real broker, seen and taught by a Home Assistant in small; docs/howto/home-assistant.md is true."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import yaml

from edge_agent.home_assistant.announced import FILE
from headway.wire import Kind, topic
from testbed.broker import Broker
from tests.home_assistant import UNKNOWN, SmallHomeAssistant
from tests.project.files import ROOT
from tests.system.conftest import BIN, Device, wait_until
from tests.system.make_model import CLASSES, data
from tests.system.test_agent import learned

pytestmark = [pytest.mark.system, pytest.mark.broker]
NewDevice = Callable[..., Device]
PAGE = (ROOT / "docs" / "howto" / "home-assistant.md").read_text()
ROWS = 8
NAME = "headway/test/pump-7"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def is_state(home: SmallHomeAssistant, key: str, *wanted: str) -> bool:
    return home.states(NAME).get(key) in wanted


def asks(home: SmallHomeAssistant, after: str = "") -> bool:
    """Whether a window is asked for, another one than `after`."""
    unasked = home.states(NAME).get("wanted") in (None, UNKNOWN, "unavailable")
    return not unasked and home.attributes(NAME, "wanted").get("id") != after


def test_a_device_is_found_shown_taught_and_taken_out(
    new_device: NewDevice, fresh_broker: Broker, bundle: Path
) -> None:
    device = new_device("pump-7", fresh_broker, blocks("toml")[0])
    with SmallHomeAssistant(fresh_broker) as home:
        device.start()
        x, _ = data(ROWS, seed=4)
        device.drop("first", x=x, id=np.array([f"w-{row}" for row in range(ROWS)]))
        wait_until(partial(is_state, home, "prediction", *CLASSES), "a prediction")
        states = home.states(NAME)
        assert (states["accuracy"], states["labels"], states["drift"]) == (UNKNOWN, "0", "OFF")
        assert 0.0 < float(states["probability"]) <= 100.0
        assert home.attributes(NAME, "prediction") == {"head": "frozen", "labels": 0}

        wait_until(partial(asks, home), "a window that is asked for")
        first = home.attributes(NAME, "wanted")["id"]
        home.choose(NAME, "wanted", CLASSES[0])
        wait_until(partial(is_state, home, "labels", "1"), "the label that was chosen")
        wait_until(partial(asks, home, first), "another window")
        second = home.attributes(NAME, "as-predicted")["id"]
        home.press(NAME, "as-predicted")
        wait_until(partial(is_state, home, "labels", "2"), "the label by the button")
        assert home.states(NAME)["accuracy"] in ("50.0", "100.0")
        wait_until(partial(asks, home, second), "a third window")
        third = home.attributes(NAME, "wanted")["id"]
        home.press(NAME, "skip")
        wait_until(partial(asks, home, third), "a fourth window")
        assert len({first, second, third, home.attributes(NAME, "wanted")["id"]}) == 4
        assert home.attributes(NAME, "undo") == {"id": second}
        home.press(NAME, "undo")
        wait_until(partial(is_state, home, "undo", "unavailable"), "that nothing more can be undone")
        wait_until(lambda: learned(device, bundle).samples == 1, "that the sums are those of one label")

        device.kill()
        wait_until(partial(is_state, home, "prediction", "unavailable"), "its last will")
        topics = home.devices[NAME]["topic"], topic("test", "pump-7", Kind.SUMMARY)
        assert leaving(device) == [f"cleared {name}" for name in topics]
        wait_until(lambda: NAME not in home.devices, "that it is gone")
    assert home.problems == []
    assert not (device.folder / "state" / FILE).exists()
    with SmallHomeAssistant(fresh_broker) as later:
        assert later.devices == {}


def leaving(device: Device) -> list[str]:
    """The page's command."""
    command = ["bash", "-ec", blocks("sh")[0]]
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"}
    done = subprocess.run(command, cwd=device.folder, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_switched_off_it_is_gone_at_the_next_connection(new_device: NewDevice, fresh_broker: Broker) -> None:
    device = new_device("pump-7", fresh_broker, "[answers]\nhome_assistant = true\n")
    with SmallHomeAssistant(fresh_broker) as home:
        device.start()
        wait_until(lambda: NAME in home.devices, "the device")
        refused = subprocess.run(
            [BIN / "edge-agent", "leave-home-assistant", device.config], capture_output=True, text=True
        )
        assert refused.returncode == 2
        assert "the agent runs and would announce this device again" in refused.stderr
        assert device.stop() == 0
        device.config.write_text(device.config.read_text().replace("home_assistant = true", "home_assistant = false"))
        device.start()
        wait_until(lambda: NAME not in home.devices, "that it is gone")
        wait_until(lambda: not (device.folder / "state" / FILE).exists(), "the note")
        assert device.stop() == 0


def test_the_pages_access_list_and_automation_name_what_there_is(new_device: NewDevice, fresh_broker: Broker) -> None:
    automation = yaml.safe_load(blocks("yaml")[0])
    assert automation["triggers"][0]["entity_id"] == "select.pump_7_label_wanted"
    lines = blocks("acl")[0].splitlines()
    assert "pattern write homeassistant/device/FLEET/%u/config" in lines
    assert {f"topic write {topic('FLEET', '+', Kind.LABELS)}", f"topic read {topic('FLEET', '+', Kind.SUMMARY)}"} < {
        *lines
    }
