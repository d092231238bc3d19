"""What namespaces cannot show: limits of memory and secrets of the service, under systemd in a virtual machine.

`make system-test`; slow (QEMU without KVM), needs root.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from testbed.debian import Debian
from testbed.debian import why_not as no_debian
from testbed.virtual import MACHINES, Virtual, why_not
from testbed.virtual_system import SystemImage
from tests.realsystem.machine import PACKAGES, SUITES
from tests.realsystem.packages import package
from tests.system.conftest import bundle
from tests.system.make_model import data

__all__ = ["bundle"]

REASON = no_debian() or why_not(MACHINES["amd64"])
pytestmark = [
    pytest.mark.slow,
    pytest.mark.system,
    pytest.mark.skipif(bool(REASON), reason=REASON or "machines are emulated"),
]
PROGRAM = Path(__file__).parents[2] / "testbed" / "guest_limits.py"
PROOF_TIMEOUT_S = 3000.0
SECRET = "hunter2"
LABELS = 40
BROKER_CONF = """\
listener 1883 127.0.0.1
allow_anonymous false
password_file /etc/mosquitto/passwords
"""
AGENT_TOML = """\
[device]
id = "pump-1"
fleet = "plant"
[bundle]
path = "/etc/headway/model.hwb"
[storage]
state_dir = "/var/lib/edge-agent"
[sensor]
spool_dir = "/var/spool/headway/in"
predictions_dir = "/var/spool/headway/predictions"
[mqtt]
host = "127.0.0.1"
port = 1883
username = "pump-1"
password_file = "/etc/headway/secrets/mqtt.password"
"""


@pytest.fixture(scope="module", params=os.environ.get("SUITES", " ".join(SUITES)).split())
def proof(request: pytest.FixtureRequest, bundle: Path) -> Iterator[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="headway-limits-") as name:
        image = _image(request.param, Path(name), bundle)
        machine = Virtual(image, None, "systemd.show_status=false")
        try:
            found = json.loads(machine.wait_for("PROOF ", PROOF_TIMEOUT_S))
        finally:
            machine.cut()
        print(found)
        yield found


def _image(suite: str, folder: Path, bundle: Path) -> SystemImage:
    """Our package, a broker that wants a password, and the password in a file of root's alone."""
    image = SystemImage(MACHINES["amd64"], folder, Debian(suite, PACKAGES), PROGRAM)
    tree, etc = image.tree, image.tree / "etc"
    shutil.copy(package("headway-agent", SUITES[suite], "amd64", folder), tree / "root" / "agent.deb")
    image.run("dpkg", "--install", "/root/agent.deb")
    x, y = data(LABELS, seed=2)
    np.savez(tree / "root" / "first.npz", x=x, y=y)
    shutil.copy(bundle, etc / "headway" / "model.hwb")
    (etc / "headway" / "agent.toml").write_text(AGENT_TOML)
    (etc / "headway" / "secrets").mkdir(mode=0o700, exist_ok=True)
    (etc / "headway" / "secrets" / "mqtt.password").write_text(SECRET)
    (etc / "headway" / "secrets" / "mqtt.password").chmod(0o600)
    (etc / "mosquitto" / "conf.d" / "proof.conf").write_text(BROKER_CONF)
    image.run("mosquitto_passwd", "-b", "-c", "/etc/mosquitto/passwords", "pump-1", SECRET)
    image.run("chown", "mosquitto", "/etc/mosquitto/passwords")
    image.run("systemctl", "enable", "mosquitto.service", "edge-agent.service")
    image.seal()
    return image


def test_the_kernel_holds_the_agent_to_sixty_percent_of_the_memory(proof: dict[str, Any]) -> None:
    assert proof["limit_bytes"] == pytest.approx(0.6 * proof["physical_bytes"], rel=0.01)


def test_an_agent_past_its_limit_is_ended_alone_and_comes_back_with_all_it_learned(proof: dict[str, Any]) -> None:
    assert proof["kill_together"] == "1"
    assert proof["restarts"] >= 1
    assert any("oom-kill" in line for line in proof["said"]), proof["said"]
    assert proof["same_boot"]
    assert proof["broker"] == "active"
    assert (proof["labels_before"], proof["labels_after"]) == (LABELS, LABELS)


def test_a_secret_of_root_alone_reaches_the_service_in_memory_and_nobody_else(proof: dict[str, Any]) -> None:
    credentials = dict(proof["credentials"])
    assert credentials.pop("mount") in (["ramfs"], ["tmpfs"])
    assert int(credentials.pop("mode"), 8) & 0o337 == 0, "the owner reads it, a group at most, nobody writes"
    assert credentials == {"written_on_disk": False, "service_is_root": False, "others_can_read": False}
