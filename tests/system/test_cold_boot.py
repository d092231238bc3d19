"""A device that starts without a network trains and predicts at once."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

import numpy as np
import pytest

from tests.system.conftest import Device, wait_until
from tests.system.make_model import data

pytestmark = pytest.mark.system
COLD_BOOT_S = 10.0


@pytest.mark.parametrize("broker", ["none configured", "not reachable"])
def test_a_cold_boot_without_network_trains_and_predicts(new_device: Callable[..., Device], broker: str) -> None:
    extra = ""
    if broker == "not reachable":
        with socket.create_server(("127.0.0.1", 0)) as unused:
            extra = f'[mqtt]\nhost = "127.0.0.1"\nport = {unused.getsockname()[1]}\n'
    device = new_device(extra=extra)
    x, y = data(40, seed=4)
    # a device that has learned before: its start includes doing the journal again
    device.drop("earlier", x=x[:30], y=y[:30])
    device.start()
    wait_until(lambda: "earlier" in device.answers(), "the first answer")
    device.kill()
    device.drop("now", x=x[30:], y=y[30:])
    started = time.monotonic()
    device.start()
    wait_until(lambda: "now" in device.answers(), "the answer after the cold boot")
    took_s = time.monotonic() - started
    print(f"cold boot to trained and predicted, broker {broker}: {took_s:.2f} s (goal {COLD_BOOT_S:.0f} s)")
    assert took_s < COLD_BOOT_S
    with np.load(device.folder / "predictions" / "now.npz") as answer:
        assert len(answer["prediction"]) == 10
    assert device.stop() == 0
