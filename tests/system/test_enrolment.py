"""Joining, the access list, renewal and revocation: the real programs, openssl and mosquitto."""

from __future__ import annotations

import os
import queue
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from aggregator.commands.enrolment import opened, write_broker_config
from aggregator.config import Settings, read_settings
from aggregator.enrolment.broker import AGGREGATOR_NAME
from aggregator.store.rows import CERTIFICATES, JOIN_CODES
from aggregator.store.sql import SqlStore
from edge_agent.config import read_config
from edge_agent.enrolment import join_fleet, renew_certificate
from edge_agent.enrolment.renewal import check_accepted
from headway.errors import ConfigError, HeadwayError, RemoteError, TransportError
from headway.joining import JOIN_PATH, JoinCode, JoinRequest
from headway.mqtt import MqttSettings
from headway.mqtt.transport import MqttTransport
from headway.ports import Connected, Delivered, Disconnected, Outgoing, Received, SystemClock, TransportEvent
from headway.wire import ALL, FROM_DEVICES, TO_DEVICES, TO_EVERY_DEVICE, topic
from headway.wire.topics import AGGREGATOR, Kind
from testbed.broker import die_with_parent, free_port
from testbed.mosquitto import find_or_fetch
from tests.project.files import ROOT
from tests.system.commands import by_process, in_this_process

pytestmark = [
    pytest.mark.broker,
    pytest.mark.system,
    pytest.mark.skipif(shutil.which("openssl") is None, reason="the program openssl is not installed"),
]

FLEET = "plant"
AGGREGATOR_TOML = "aggregator.toml"
CLOCK = SystemClock()
PATIENCE_S = 20.0


@dataclass
class Site:
    """A fleet's server, its broker and its address for joins, all on this machine."""

    folder: Path
    settings: Settings
    url: str

    def code(self, device: str = "", count_max: int = 1, lasts_s: float = 3600.0) -> str:
        enrolment, _ = opened(self.settings, CLOCK, lambda: SqlStore(self.settings.database))
        return enrolment.new_code(device, [], count_max, CLOCK.wall_s(), lasts_s).text

    def join(self, device: str) -> Path:
        config = self.folder / device / "agent.toml"
        join_fleet(self.url, self.code(device), "", config)
        return config

    def fleet(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return program("aggregator.cli", *arguments, "--config", str(self.folder / AGGREGATOR_TOML))


def program(module: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module, *arguments], capture_output=True, text=True, timeout=60,
        env={**os.environ, **environment},
    )  # fmt: skip


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with tempfile.TemporaryDirectory(prefix="headway-site-") as made:
        # as on Debian the broker gives up root, and must then still reach its files
        Path(made).chmod(0o755)
        yield from running_site(Path(made))


def running_site(folder: Path) -> Iterator[Site]:
    mqtt_port, join_port = free_port(), free_port()
    identity, pid = folder / "state" / "authority" / "aggregator.pem", folder / "broker.pid"
    (folder / AGGREGATOR_TOML).write_text(
        f"""
fleet.name = "{FLEET}"
bundle.path = "model.hwb"
storage.state_dir = "state"
mqtt = {{host = "localhost", port = {mqtt_port}, tls = true, ca_file = "broker/ca.pem", cert_file = "{identity}",
    key_file = "{identity}"}}
enrolment = {{listen = "127.0.0.1", port = {join_port}, broker_port = {mqtt_port}, broker_dir = "broker",
    broker_reload = ["sh", "-c", "kill -HUP $(cat {pid})"]}}
""".replace(",\n    ", ", ")
    )
    settings = read_settings(folder / AGGREGATOR_TOML)
    user = "nobody" if os.geteuid() == 0 else "mosquitto"
    write_broker_config(settings, CLOCK, folder / "broker", (), user, folder / "data")
    mosquitto = find_or_fetch()
    started = [
        subprocess.Popen(
            [str(mosquitto.program), "-c", str(folder / "broker" / "mosquitto.conf")], env=mosquitto.environment(),
            preexec_fn=die_with_parent, stderr=subprocess.DEVNULL,
        ),
        subprocess.Popen(
            [sys.executable, "-m", "aggregator.cli", "join-server", "--config", str(folder / AGGREGATOR_TOML)],
            preexec_fn=die_with_parent, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        ),
    ]  # fmt: skip
    pid.write_text(str(started[0].pid))
    try:
        for port in (mqtt_port, join_port):
            until(lambda port=port: listens(port))  # type: ignore[misc]
        yield Site(folder, settings, f"https://localhost:{join_port}")
    finally:
        for process in started:
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE_S)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def until(true: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline_s, "it did not happen"
        time.sleep(0.02)


class Client:
    """One connection to the broker, as the programs make it."""

    def __init__(self, mqtt: MqttSettings, client_id: str, *subscriptions: str) -> None:
        self.events: queue.Queue[TransportEvent] = queue.Queue()
        will = Outgoing(topic(FLEET, "will", Kind.STATUS), b"")
        self.transport = MqttTransport(mqtt, client_id, subscriptions, will, self.events.put)
        self.transport.start()

    def __enter__(self) -> Client:
        self.next(Connected)
        return self

    def __exit__(self, *_: object) -> None:
        self.transport.stop()

    def next(self, kind: type) -> TransportEvent:
        while True:
            event = self.events.get(timeout=PATIENCE_S)
            if isinstance(event, kind):
                return event

    def allowed(self, name: str, payload: bytes = b"{}") -> bool:
        """Whether the broker takes a message on a topic."""
        token = None
        while token is None:
            token = self.transport.publish(Outgoing(name, payload))
        while True:
            event = self.next(Delivered)
            if isinstance(event, Delivered) and event.token == token:
                return not event.refused


def device_mqtt(config: Path) -> MqttSettings:
    mqtt = read_config(config).mqtt
    assert mqtt is not None
    return mqtt


def test_a_device_joins_by_its_program(site: Site) -> None:
    done = site.fleet("enroll", "wrist-1", "--groups", "gym")
    assert done.returncode == 0, done.stderr
    config = site.folder / "wrist-1" / "agent.toml"
    arguments = ("join", site.url, "--code", done.stdout.strip(), "--config", str(config))
    joined = program("edge_agent.cli", *arguments)
    assert joined.returncode == 0, joined.stderr
    assert "edge-agent run" in joined.stdout
    settings = read_config(config)
    assert (settings.device, settings.fleet) == ("wrist-1", FLEET)
    files = {file.name: file.read_bytes() for file in config.parent.iterdir()}
    assert sorted(files) == ["agent.toml", "ca.pem", "identity.pem"]
    assert stat.S_IMODE((config.parent / "identity.pem").stat().st_mode) & 0o007 == 0
    again = program("edge_agent.cli", *arguments)
    assert again.stdout == joined.stdout
    assert {file.name: file.read_bytes() for file in config.parent.iterdir()} == files
    assert "wrist-1  good" in site.fleet("certificates").stdout
    with Client(device_mqtt(config), "wrist-1"):
        pass


def test_a_device_without_openssl_is_told(site: Site, tmp_path: Path) -> None:
    done = program("edge_agent.cli", "join", site.url, "--code", site.code("x"), "--config", str(tmp_path / "a.toml"),
                   PATH=str(tmp_path))  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: the program openssl is not installed, and makes the key; apt install openssl\n"


@pytest.mark.parametrize("before", ['[device]\nid = "pump-5"\n', '[mqtt]\nhost = "elsewhere"\nport = 1883\n'])
def test_a_configuration_that_is_replaced_names_the_fleets_broker(site: Site, tmp_path: Path, before: str) -> None:
    config = tmp_path / "agent.toml"
    config.write_text(before)
    said = join_fleet(site.url, site.code("pump-5"), "", config)
    assert "was there before and stays" in said
    assert config.read_text() == before
    join_fleet(site.url, site.code("pump-5"), "", config, replace=True)
    found = read_config(config).mqtt
    assert found is not None
    assert (found.host, found.port) == ("localhost", site.settings.mqtt.port)


def test_joining_loads_little() -> None:
    script = "import sys, edge_agent.enrolment; print({'cryptography', 'paho', 'onnxruntime'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout == "set()\n"


def test_another_server_gets_no_code(site: Site, tmp_path: Path) -> None:
    code = JoinCode(JoinCode.parse(site.code("x")).secret, "ab" * 32)
    with pytest.raises(TransportError, match="is not the server that the join code is of"):
        join_fleet(site.url, code.text, "", tmp_path / "agent.toml")
    # the broker has a certificate of the same authority, and may still not pose as the server for joins
    assert not list(tmp_path.iterdir())
    with pytest.raises(HeadwayError):
        join_fleet(f"https://localhost:{site.settings.mqtt.port}", site.code("x"), "", tmp_path / "agent.toml")


@pytest.mark.parametrize("url", ["http://a", "https://a/b", "https://", "https://a:99999", "https://u@a"])
def test_an_address_is_checked(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="https://HOST"):
        join_fleet(url, JoinCode.new("ab" * 32).text, "", tmp_path / "agent.toml")


@pytest.mark.parametrize("step", ["request", "authority", "identity", "config"])
def test_a_join_that_is_killed_goes_on(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """Ended right before each step; the second try ends with one certificate and the code counted once."""
    import edge_agent.enrolment.join as joining
    from edge_agent.enrolment.identity import IdentityFiles

    device = f"killed-{step}"
    text = site.code(device)

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        if step == "request":
            patched.setattr(joining.JoinServer, "ask", killed)
        elif step == "authority":
            patched.setattr(joining, "write_durably", killed)
        else:
            patched.setattr(IdentityFiles, f"write_{step}", killed)
        with pytest.raises(KeyboardInterrupt):
            join_fleet(site.url, text, "", tmp_path / "agent.toml")
    join_fleet(site.url, text, "", tmp_path / "agent.toml")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["agent.toml", "ca.pem", "identity.pem"]
    store = SqlStore(site.settings.database)
    with store.transaction():
        code = store.rows(JOIN_CODES).get(JoinCode.parse(text).sha256)
        assert code is not None
        assert code.used == 1
        assert len(store.rows(CERTIFICATES).where(device=device)) == 1
    store.close()
    with Client(device_mqtt(tmp_path / "agent.toml"), device):
        pass


def test_a_configuration_that_is_there_stays(site: Site, tmp_path: Path) -> None:
    config = tmp_path / "agent.toml"
    config.write_text('[device]\nid = "old"\n')
    said = join_fleet(site.url, site.code("new"), "", config)
    assert config.read_text() == '[device]\nid = "old"\n'
    assert 'id = "new"' in said
    assert 'cert_file = "identity.pem"' in said


def test_every_topic_is_allowed_or_forbidden_as_the_access_list_says(site: Site) -> None:
    mine, other = site.join("acl-a"), "acl-b"
    server = site.settings.mqtt
    everything = topic(FLEET, "#", Kind.ACK).rpartition("/")[0]
    with Client(device_mqtt(mine), "acl-a", everything) as device, Client(server, "x", everything) as aggregator:
        for kind in Kind:
            assert device.allowed(topic(FLEET, "acl-a", kind)) == (kind in FROM_DEVICES), kind
            for name in (other, ALL, AGGREGATOR):
                assert not device.allowed(topic(FLEET, name, kind)), (name, kind)
            assert not device.allowed(topic("another-fleet", "acl-a", kind)), kind
        assert not device.allowed("$CONTROL/dynamic-security/v1")
        expected = {topic(FLEET, "acl-a", kind) for kind in TO_DEVICES}
        expected |= {topic(FLEET, ALL, kind) for kind in TO_EVERY_DEVICE}
        # heads of any feature space: they tell of nobody
        expected |= {topic(FLEET, name, Kind.HEAD) for name in ("acl-a", other, AGGREGATOR)}
        for name in ("acl-a", other, ALL, AGGREGATOR):
            for kind in Kind:
                assert aggregator.allowed(topic(FLEET, name, kind)), (name, kind)
        last = topic(FLEET, "acl-a", Kind.ACK)
        assert aggregator.allowed(last, b"last")
        received = set()
        while True:
            event = device.next(Received)
            assert isinstance(event, Received)
            received.add(event.topic)
            if event.payload == b"last":
                break
        assert received == expected


def test_nobody_takes_the_session_of_another(site: Site) -> None:
    first, second = site.join("session-a"), site.join("session-b")
    with Client(device_mqtt(first), f"{FLEET}.session-a") as owner:
        for client_id in ("session-a", AGGREGATOR_NAME):
            with Client(device_mqtt(second), client_id) as thief:
                assert not thief.allowed(topic(FLEET, "session-a", Kind.STATUS))
        assert owner.allowed(topic(FLEET, "session-a", Kind.STATUS))
        assert not [event for event in owner.events.queue if isinstance(event, Disconnected)]


def test_a_lost_device_is_out_within_five_seconds(site: Site) -> None:
    lost, kept = site.join("lost"), site.join("kept")
    with Client(device_mqtt(kept), "kept") as bystander, Client(device_mqtt(lost), "lost") as client:
        begun_s = time.monotonic()
        done = site.fleet("revoke", "lost")
        assert done.returncode == 0, done.stderr
        client.next(Disconnected)
        assert time.monotonic() - begun_s < 5.0
        client.next(Disconnected)  # the transport has tried again by itself
        with pytest.raises(TransportError, match=r"(?i)revoked"):
            check_accepted(device_mqtt(lost))
        assert bystander.allowed(topic(FLEET, "kept", Kind.STATUS))
        assert not [event for event in client.events.queue if isinstance(event, Connected)]
    again = site.fleet("revoke", "lost")
    assert again.returncode == 0, again.stderr
    assert "(0 certificates revoked now)" in again.stdout
    with pytest.raises(TransportError, match="is revoked"):
        renew_certificate(lost, CLOCK, at_once=True)


def test_a_certificate_is_renewed_while_the_session_lives(site: Site) -> None:
    config = site.join("renewed")
    identity = config.with_name("identity.pem")
    before = identity.read_bytes()
    assert "nothing to do" in renew_certificate(config, CLOCK)
    with Client(device_mqtt(config), "renewed") as client:
        assert "is renewed" in renew_certificate(config, CLOCK, at_once=True)
        assert client.allowed(topic(FLEET, "renewed", Kind.STATUS))
        assert not [event for event in client.events.queue if isinstance(event, Disconnected)]
    after = identity.read_bytes()
    assert after != before
    assert sorted(file.name for file in config.parent.iterdir()) == ["agent.toml", "ca.pem", "identity.pem"]
    with Client(device_mqtt(config), "renewed") as client:
        assert client.allowed(topic(FLEET, "renewed", Kind.STATUS))


def test_a_certificate_that_the_broker_refuses_replaces_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    import edge_agent.enrolment.renewal as renewal

    config = site.join("careful")
    before = config.with_name("identity.pem").read_bytes()

    def refused(mqtt: MqttSettings) -> None:
        raise TransportError("the broker does not accept the new certificate")

    with monkeypatch.context() as patched:
        patched.setattr(renewal, "check_accepted", refused)
        with pytest.raises(TransportError, match="does not accept"):
            renew_certificate(config, CLOCK, at_once=True)
    assert config.with_name("identity.pem").read_bytes() == before
    with Client(device_mqtt(config), "careful") as client:
        assert client.allowed(topic(FLEET, "careful", Kind.STATUS))
    renew_certificate(config, CLOCK, at_once=True)  # goes on with the key that was asked for
    store = SqlStore(site.settings.database)
    with store.transaction():
        assert len(store.rows(CERTIFICATES).where(device="careful")) == 2
    store.close()


@pytest.mark.parametrize("step", ["ask", "answered", "try", "replace", "replaced"])
def test_a_renewal_that_is_killed_leaves_one_that_works(site: Site, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    import edge_agent.enrolment.renewal as renewal

    device = f"renewal-{step}"
    config = site.join(device)
    asked = renewal.JoinServer.ask

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    def killed_after_the_answer(*given: object) -> None:
        asked(*given)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    owner, name, what = {
        "ask": (renewal.JoinServer, "ask", killed),
        "answered": (renewal.JoinServer, "ask", killed_after_the_answer),
        "try": (renewal, "check_accepted", killed),
        "replace": (renewal.IdentityFiles, "write_identity", killed),
        "replaced": (Path, "unlink", killed),
    }[step]
    with monkeypatch.context() as patched:
        patched.setattr(owner, name, what)
        with pytest.raises(KeyboardInterrupt):
            renew_certificate(config, CLOCK, at_once=True)
    with Client(device_mqtt(config), device) as client:
        assert client.allowed(topic(FLEET, device, Kind.STATUS))
    renew_certificate(config, CLOCK, at_once=True)
    assert sorted(file.name for file in config.parent.iterdir()) == ["agent.toml", "ca.pem", "identity.pem"]
    with Client(device_mqtt(config), device) as client:
        assert client.allowed(topic(FLEET, device, Kind.STATUS))


@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b"{}", b'{"secret": 1}', b"x" * 20_000, b"\xff"])
def test_what_is_no_request_is_answered_with_a_reason(site: Site, payload: bytes, tmp_path: Path) -> None:
    from edge_agent.enrolment.server import JoinServer

    code = JoinCode.parse(site.code("x"))
    server = JoinServer.first_met(site.url, code.authority_sha256)
    with pytest.raises((TransportError, RemoteError), match=r"localhost:\d+: .{10,}"):
        server.ask(JOIN_PATH, payload)


@pytest.mark.parametrize("page", ["enrol.md", "lost-device.md"])
def test_the_commands_of_the_pages_work(site: Site, tmp_path: Path, page: str) -> None:
    """Each, in order, with this site's places in place of the page's. Those that no test above starts are processes."""
    if page == "lost-device.md":
        site.join("wrist-1")
    places = {
        "/etc/headway-broker": str(tmp_path / "broker"),
        "/etc/headway/aggregator.toml": str(site.folder / AGGREGATOR_TOML),
        "/etc/headway/agent.toml": str(tmp_path / "agent.toml"), "https://server.example:8884": site.url,
    }  # fmt: skip
    ran, code = [], ""
    for line in re.findall(r"^ *(edge-.+)$", (ROOT / "docs" / "howto" / page).read_text(), re.MULTILINE):
        name, command, *rest = (places.get(word, code if word == "CODE" else word) for word in line.split())
        ran.append(f"{name} {command}")
        if command in ("join-server", "forget"):  # it runs already; nobody has reported
            continue
        more = ["--user", "root"] if command == "broker-config" and os.geteuid() == 0 else []
        run = by_process if command in ("broker-config", "renew") else in_this_process
        done = run([name, command, *rest, *more])
        assert done.returncode == 0, (line, done.stderr)
        if command == "enroll" and not code:
            code = done.stdout.strip()
    fleet = ["edge-fleet broker-config", "edge-fleet join-server", "edge-fleet enroll", "edge-fleet enroll"]
    device = ["edge-agent join", "edge-agent renew", "edge-fleet certificates"]
    assert ran == {"enrol.md": [*fleet, *device], "lost-device.md": ["edge-fleet revoke", "edge-fleet forget"]}[page]


@pytest.mark.slow
def test_a_thousand_devices_join_within_a_minute_twenty_of_them_by_their_program(site: Site, tmp_path: Path) -> None:
    from tests.aggregator.test_enrolment import new_request

    text = site.code(count_max=1020)
    code = JoinCode.parse(text)
    begun_s = time.monotonic()
    enrolment, _ = opened(site.settings, CLOCK, lambda: SqlStore(site.settings.database))
    for number in range(1000):
        enrolment.join(JoinRequest(code.secret, f"many-{number}", new_request()), CLOCK.wall_s())
    in_process_s = time.monotonic() - begun_s

    def join(number: int) -> subprocess.CompletedProcess[str]:
        config = tmp_path / f"{number}" / "agent.toml"
        arguments = ("--code", text, "--name", f"real-{number}", "--config", str(config))
        return program("edge_agent.cli", "join", site.url, *arguments)

    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(join, range(20)))
    took_s = time.monotonic() - begun_s
    assert [one.stderr for one in done if one.returncode] == []
    print(f"1,000 in-process: {in_process_s:.1f} s; with 20 programs: {took_s:.1f} s")
    assert took_s < 60
