"""docs/howto/internet.md as it stands, at another address and port: who has a certificate comes in, nobody else."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from headway.ports import Connected, Delivered, Disconnected, Outgoing
from headway.wire import Kind, device_subscriptions, topic
from testbed.broker import Broker, free_port
from tests.headway.test_mqtt_broker import connection
from tests.project.files import ROOT

pytestmark = [
    pytest.mark.broker,
    pytest.mark.skipif(shutil.which("openssl") is None, reason="the openssl command is not installed"),
]
PAGE = (ROOT / "docs" / "howto" / "internet.md").read_text()
ACCESS = (ROOT / "docs" / "howto" / "mqtt.md").read_text().split("```acl\n")[1].split("```")[0]
# one at which nothing else of this machine is asked for
ADDRESS = "127.0.0.2"
# the test broker has these already
HERE_ALREADY = ("persistence", "autosave", "max_inflight", "max_queued")


def block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return str(found)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the page's commands make, for an address instead of a name."""
    folder = tmp_path_factory.mktemp("certificates")
    commands = block("sh").replace("DNS:broker.example", f"IP:{ADDRESS}")
    commands += "issue pump-8 clientAuth DNS:pump-8\n"
    subprocess.run(["bash", "-e"], input=commands, cwd=folder, check=True, text=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def port(certificates: Path) -> Iterator[int]:
    """Of a broker with the page's configuration."""
    (certificates / "headway.acl").write_text(ACCESS.replace("FLEET", "plant"))
    (certificates / "headway.acl").chmod(0o600)
    chosen = free_port()
    lines = block("conf").replace("listener 8883", f"listener {chosen} {ADDRESS}").splitlines()
    text = "\n".join(line for line in lines if not line.startswith(HERE_ALREADY))
    text = text.replace("/etc/mosquitto/certs", str(certificates)).replace("/etc/mosquitto", str(certificates))
    with Broker(extra=text):
        yield chosen


def settings(certificates: Path, port: int, **changes: object) -> dict[str, object]:
    """Of the page's [mqtt] table."""
    table = tomllib.loads(block("toml").replace("/etc/headway/secrets", str(certificates)))["mqtt"]
    assert (table["host"], table["port"]) == ("broker.example", 8883)
    files = {key: Path(value) for key, value in table.items() if key.endswith("_file")}
    return {**table, **files, "host": ADDRESS, "port": port, **changes}


def test_a_device_and_the_aggregator_come_in_and_are_who_their_certificates_say(certificates: Path, port: int) -> None:
    own = {name: certificates / f"aggregator.{name[:3]}" for name in ("pem", "key")}
    server = settings(certificates, port, cert_file=own["pem"], key_file=own["key"])
    told, heard_kinds = device_subscriptions("plant", "pump-7", "5" * 64), ("headway/v1/plant/+/statistics",)
    unnamed = Broker()  # says nothing: host and port come from the settings
    with (
        connection(unnamed, "whoever", told, **settings(certificates, port)) as (
            device,
            seen,
        ),
        connection(unnamed, "whoever", heard_kinds, **server) as (_, heard),
    ):
        seen.wait_for(Connected)
        heard.wait_for(Connected)
        device.publish(Outgoing(topic("plant", "pump-7", Kind.STATISTICS), b"tables"))
        assert not seen.wait_for(Delivered).refused  # type: ignore[union-attr]
        device.publish(Outgoing(topic("plant", "pump-8", Kind.STATISTICS), b"not mine"))
        assert seen.wait_for(Delivered).refused  # type: ignore[union-attr]
        assert not [event for event in seen.rest() if isinstance(event, Disconnected)], "one client id for each name"


@pytest.mark.parametrize("stranger", ["without a certificate", "of another authority", "with the key of another"])
def test_nobody_else_comes_in(certificates: Path, port: int, stranger: str, tmp_path: Path) -> None:
    changes: dict[str, object] = {"cert_file": None, "key_file": None}
    if stranger == "of another authority":
        commands = block("sh")
        subprocess.run(["bash", "-e"], input=commands, cwd=tmp_path, check=True, text=True, capture_output=True)
        changes = {"cert_file": tmp_path / "pump-7.pem", "key_file": tmp_path / "pump-7.key"}
    elif stranger == "with the key of another":
        changes = {"key_file": certificates / "pump-8.key"}
    with connection(Broker(), "pump-7", (), **settings(certificates, port, **changes)) as (_, events):
        refused = events.wait_for(Disconnected)
        assert isinstance(refused, Disconnected)
        assert "\n" not in refused.reason
        assert not [event for event in events.rest() if isinstance(event, Connected)]


def test_a_broker_of_another_authority_is_refused_by_the_device(certificates: Path, port: int) -> None:
    with connection(Broker(), "pump-7", (), **settings(certificates, port, ca_file=certificates / "pump-8.pem")) as (
        _,
        events,
    ):
        refused = events.wait_for(Disconnected)
        assert isinstance(refused, Disconnected)
        assert "certificate is not accepted" in refused.reason
