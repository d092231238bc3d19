"""What `edge-fleet broker-config` writes, run by a stock Debian mosquitto as its unit runs it."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from aggregator.commands.enrolment import write_broker_config
from aggregator.config import read_settings
from headway.ports import SystemClock
from testbed.broker import die_with_parent, free_port
from tests.system.conftest import wait_until

MOSQUITTO, USER = Path("/usr/sbin/mosquitto"), "mosquitto"
IS_DEBIANS = MOSQUITTO.exists() and USER in {user.pw_name for user in pwd.getpwall()} and os.geteuid() == 0
pytestmark = [
    pytest.mark.broker,
    pytest.mark.skipif(not IS_DEBIANS, reason="needs root, and Debian's mosquitto with its user"),
]


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that the broker's user may look into, as /etc and /var are."""
    folder = Path(tempfile.mkdtemp(prefix="headway-debian-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_it_runs_as_its_own_user_reads_its_key_reloads_and_persists(place: Path) -> None:
    port, identity = free_port(), place / "state" / "authority" / "aggregator.pem"
    (place / "aggregator.toml").write_text(
        f'fleet.name = "plant"\nbundle.path = "m.hwb"\nstorage.state_dir = "state"\n'
        f'mqtt = {{host = "localhost", port = {port}, tls = true, ca_file = "broker/ca.pem", cert_file = "{identity}", '
        f'key_file = "{identity}"}}\nenrolment = {{broker_port = {port}, broker_dir = "broker"}}\n'
    )
    settings = read_settings(place / "aggregator.toml")
    write_broker_config(settings, SystemClock(), place / "broker", (), USER, place / "lib")
    with (place / "log").open("wb") as log:
        command = [str(MOSQUITTO), "-c", str(place / "broker" / "mosquitto.conf")]
        broker = subprocess.Popen(command, stdout=log, stderr=log, preexec_fn=die_with_parent)

    def shaken_hands() -> bool:
        context = ssl.create_default_context(cafile=place / "broker" / "ca.pem")
        context.load_cert_chain(identity)
        try:
            with socket.create_connection(("localhost", port), 5) as plain:
                context.wrap_socket(plain, server_hostname="localhost").close()
        except ConnectionRefusedError:
            return False
        return True

    try:
        wait_until(shaken_hands, "a handshake")
        assert Path(f"/proc/{broker.pid}").stat().st_uid == pwd.getpwnam(USER).pw_uid
        # by now it is no longer root, and must still read what edge-fleet revoke has written
        broker.send_signal(signal.SIGHUP)
        wait_until(lambda: b"Reloading config." in (place / "log").read_bytes(), "the reload")
        assert shaken_hands()
    finally:
        broker.terminate()
        code = broker.wait(30)
    assert code == 0
    # after each change it would write all that it keeps: reports of thousands of devices for each message
    assert "\nautosave_on_changes false\n" in (place / "broker" / "mosquitto.conf").read_text()
    said = (place / "log").read_text()
    assert ": Error: " not in said, said
    assert (place / "lib" / "mosquitto.db").stat().st_uid == pwd.getpwnam(USER).pw_uid
    for name in ("server.key", "headway.acl"):
        assert stat.S_IMODE((place / "broker" / name).stat().st_mode) == 0o600
