"""A question of a real device, answered in a real browser: counted once, and taken back to the bit."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aggregator.access import Role
from aggregator.access.passwords import hashed
from aggregator.config import Settings
from aggregator.inbox import wanted_view
from aggregator.operations import Operator, create_token, put_user
from aggregator.store.location import sqlite_url
from aggregator.store.sql import SqlStore
from aggregator.web import create_web
from headway.ports import SystemClock
from testbed.broker import Broker
from tests.api.fleet import UNBOUNDED
from tests.api.serving import served
from tests.page.conftest import chromium as chromium
from tests.system.conftest import Device, wait_until
from tests.system.make_model import CLASSES, data
from tests.system.test_agent import learned, status

pytestmark = [pytest.mark.system, pytest.mark.broker, pytest.mark.browser, pytest.mark.slow]
WINDOWS = 6
ASKING = "[labels_wanted]\ninterval_s = 1.0\nsend_windows = true\n"


@pytest.fixture
def device(new_device: Callable[..., Device], fresh_broker: Broker) -> Device:
    """It has seen windows with ids, and asks about them with sketches."""
    device = new_device("pump", fresh_broker, ASKING)
    device.start()
    x, _ = data(WINDOWS, seed=5)
    device.drop("a", x=x, id=np.array([f"w{number}" for number in range(WINDOWS)]))
    wait_until(lambda: device.answers() == {"a"}, "an answer")
    return device


def test_a_label_given_in_the_page_counts_once_and_is_taken_back_to_the_bit(
    device: Device,
    aggregator: Callable[[Broker], subprocess.Popen[bytes]],
    fresh_broker: Broker,
    bundle: Path,
    tmp_path: Path,
    chromium: Any,
) -> None:
    aggregator(fresh_broker)
    state_dir = tmp_path / "aggregator"
    wait_until((state_dir / "aggregator.sqlite").exists, "the aggregator's store")
    store = SqlStore(sqlite_url(state_dir))

    def states() -> list[tuple[str, str]]:
        with store.transaction():
            return [(act.act, act.state) for act in wanted_view(store, "pump").acts]

    def open_windows() -> int:
        with store.transaction():
            return len(wanted_view(store, "pump").windows)

    wait_until(lambda: open_windows() == WINDOWS, "what the device wants to know")
    with store.transaction():
        operator = Operator(store, "local:test", time.time())
        put_user(operator, "olga", Role.OPERATOR, hashed("a horse that staples"))
        session = create_token(operator, "olga", "page", Role.OPERATOR, 3600.0).token
    settings = replace(Settings("test", bundle, state_dir), api=UNBOUNDED)
    web = create_web(settings, lambda: SqlStore(sqlite_url(state_dir)), SystemClock())
    with served(web) as url:
        context = chromium.new_context()
        context.add_cookies([{"name": "headway-test-session", "value": session, "url": url}])
        page = context.new_page()
        page.goto(f"{url}/inbox")
        assert page.locator("#window .sketch path").count() >= 1

        def press(key: str) -> None:
            with page.expect_response("**/inbox/label"):
                page.keyboard.press(key)
            page.wait_for_selector("#window:not([aria-busy])")

        press("1")
        wait_until(lambda: states() == [("label", "done")], "that the device has learned the label")
        before = learned(device, bundle)
        assert before.counts.tolist()[before.classes.index(CLASSES[0])] == 1

        # while the device is away: nothing is lost, and nothing counts twice
        device.kill()
        press("2")
        assert open_windows() == WINDOWS - 2
        device.start()
        wait_until(lambda: states() == [("label", "done")] * 2, "that it has heard of the other label")
        assert status(device)["labels"] == 2
        assert learned(device, bundle) != before

        press("u")
        wait_until(lambda: states()[:1] == [("undo", "done")] or len(states()) == 1, "that it is taken back")
        assert learned(device, bundle) == before, "to the bit"
        wait_until(lambda: open_windows() == WINDOWS - 1, "that the device asks about it again")
        page.reload()
        assert page.locator("#window").inner_text().count("5 of this device") == 1
        context.close()
        web.close()
    assert device.stop() == 0
    store.close()
