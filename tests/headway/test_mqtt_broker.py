"""The transport on a real mosquitto: TLS, client certificates, passwords, access lists, WebSockets, sessions."""

from __future__ import annotations

import base64
import datetime
import hashlib
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from headway.mqtt import MqttSettings
from headway.mqtt.transport import MqttTransport
from headway.ports import Connected, Delivered, Disconnected, Outgoing, Received, Response
from headway.wire.topics import FROM_DEVICES, TO_DEVICES, Kind, device_subscriptions, topic
from testbed.broker import Broker, BrokerFailed, free_port
from testbed.certificates import Authority
from tests.headway.test_mqtt import WILL, Events

pytestmark = pytest.mark.broker


@contextmanager
def connection(
    broker: Broker, name: str = "wrist-1", subscriptions: tuple[str, ...] = ("t/#",), **settings: object
) -> Iterator[tuple[MqttTransport, Events]]:
    events = Events()
    given = {"host": broker.host, "port": broker.port, "reconnect_max_s": 0.5, "session_expiry_s": 0}
    made = MqttSettings(**{**given, **settings})  # type: ignore[arg-type]
    transport = MqttTransport(made, name, subscriptions, WILL, events.queue.put)
    transport.start()
    try:
        yield transport, events
    finally:
        transport.stop()


def loops_back(transport: MqttTransport, events: Events, size: int = 100_000) -> None:
    """A large message goes out and comes back with its properties."""
    events.wait_for(Connected)
    payload = os.urandom(size)
    assert transport.publish(Outgoing("t/a", payload, content_type="application/vnd.safetensors")) is not None
    event = events.wait_for(Received)
    assert isinstance(event, Received)
    assert event.payload == payload
    assert event.properties == {"schema": "1", "content_type": "application/vnd.safetensors"}


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def tls_broker(authority: Authority) -> Iterator[Broker]:
    certificate, key = authority.issue("server")
    files = f"cafile {authority.ca_file}\ncertfile {certificate}\nkeyfile {key}\n"
    with Broker(extra=files + "require_certificate true\nuse_identity_as_username true\n") as broker:
        yield broker


def test_tls_with_a_client_certificate(tls_broker: Broker, authority: Authority) -> None:
    certificate, key = authority.issue("wrist-1")
    files = {"ca_file": authority.ca_file, "cert_file": certificate, "key_file": key}
    with connection(tls_broker, tls=True, alpn=("mqtt",), **files) as (transport, events):
        loops_back(transport, events)
        inner = transport._client.socket()
        assert isinstance(inner, ssl.SSLSocket)
        assert inner.version() in ("TLSv1.2", "TLSv1.3")


def test_alpn_is_offered_in_the_handshake(authority: Authority) -> None:
    """mosquitto takes no part in ALPN, so a server of our own looks at what the client offers."""
    certificate, key = authority.issue("server")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["x-amzn-mqtt-ca"])
    chosen: list[str | None] = []

    def serve(listener: socket.socket) -> None:
        with listener.accept()[0] as raw, context.wrap_socket(raw, server_side=True) as secured:
            chosen.append(secured.selected_alpn_protocol())

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        settings = MqttSettings(
            "127.0.0.1", listener.getsockname()[1], tls=True, ca_file=authority.ca_file, alpn=("x-amzn-mqtt-ca",)
        )
        transport = MqttTransport(settings, "a", (), WILL, lambda event: None)
        transport.start()
        thread.join(10)
        transport.stop()
    assert chosen == ["x-amzn-mqtt-ca"]


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")  # a socket that nobody closed
def test_a_certificate_of_somebody_else_is_not_accepted(tls_broker: Broker, tmp_path: Path) -> None:
    stranger = Authority(tmp_path, "stranger")
    with connection(tls_broker, tls=True, ca_file=stranger.ca_file) as (_, events):
        event = events.wait_for(Disconnected)
        assert isinstance(event, Disconnected)
        assert event.response is Response.PERSON
        assert "the broker's certificate is not accepted" in event.reason
        assert "check ca_file and host" in event.reason


def test_without_the_client_certificate_the_broker_lets_nobody_in(tls_broker: Broker, authority: Authority) -> None:
    with connection(tls_broker, tls=True, ca_file=authority.ca_file) as (_, events):
        event = events.wait_for(Disconnected)
        assert isinstance(event, Disconnected)
        assert not [e for e in events.rest() if isinstance(e, Connected)]


def password_line(name: str, password: str) -> str:
    """A line of mosquitto's password file: PBKDF2-SHA512 with its own format."""
    salt = os.urandom(12)
    hashed = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, 101)
    return f"{name}:$7$101${base64.b64encode(salt).decode()}${base64.b64encode(hashed).decode()}\n"


HOWTO = (Path(__file__).parents[2] / "docs" / "howto" / "mqtt.md").read_text()
PASSWORDS = {"wrist-1": "secret", "wrist-2": "second", "aggregator": "master"}
# what the test broker sets already, and what would need TLS here
NOT_HERE = (
    "listener",
    "persistence",
    "autosave",
    "max_inflight",
    "max_queued",
    "cafile",
    "certfile",
    "keyfile",
    "tls_",
)


@pytest.fixture
def guarded_broker(tmp_path: Path) -> Iterator[Broker]:
    """The configuration of docs/howto/mqtt.md: passwords, access list, client ids; without TLS."""
    (tmp_path / "headway.passwords").write_text("".join(password_line(*pair) for pair in PASSWORDS.items()))
    access = HOWTO.split("```acl\n")[1].split("```")[0]
    (tmp_path / "headway.acl").write_text(access.replace("FLEET", "plant"))
    for name in ("headway.passwords", "headway.acl"):
        (tmp_path / name).chmod(0o600)
    block = HOWTO.split("```\nlistener 8883")[1].split("```")[0].replace("/etc/mosquitto", str(tmp_path))
    with Broker(extra="\n".join(line for line in block.splitlines() if not line.startswith(NOT_HERE))) as broker:
        yield broker


def login(folder: Path, name: str) -> dict[str, object]:
    """Settings with which `name` logs in."""
    (folder / name).write_text(PASSWORDS[name] + "\n")
    return {"username": name, "password_file": folder / name}


def test_password_and_access_list_of_the_howto(guarded_broker: Broker, tmp_path: Path) -> None:
    (tmp_path / "p").write_text("secret\n")
    name = {"username": "wrist-1", "password_file": tmp_path / "p"}
    subscriptions = device_subscriptions("plant", "wrist-1", "5" * 64)
    with connection(guarded_broker, "plant.wrist-1", subscriptions, **name) as (transport, events):
        events.wait_for(Connected)
        for kind in FROM_DEVICES:
            transport.publish(Outgoing(topic("plant", "wrist-1", kind), b"x"))
            assert not events.wait_for(Delivered).refused  # type: ignore[union-attr]
        told = [topic("plant", "wrist-1", kind) for kind in TO_DEVICES]
        for forbidden in (topic("plant", "wrist-2", Kind.STATISTICS), topic("plant", "_all", Kind.HEAD), *told):
            transport.publish(Outgoing(forbidden, b"x"))
            event = events.wait_for(Delivered)
            assert isinstance(event, Delivered)
            assert event.refused
            assert event.topic == forbidden
            assert "Not authorized (135); check the broker's access list" in event.reason


def test_the_howtos_access_list_lets_the_two_sides_meet(guarded_broker: Broker, tmp_path: Path) -> None:
    (tmp_path / "p").write_text("secret")
    (tmp_path / "m").write_text("master")
    device = {"username": "wrist-1", "password_file": tmp_path / "p"}
    server = {"username": "aggregator", "password_file": tmp_path / "m"}
    with (
        connection(guarded_broker, "plant.wrist-1", device_subscriptions("plant", "wrist-1", "5" * 64), **device) as (
            up,
            seen,
        ),
        connection(guarded_broker, "headway-plant-aggregator", ("headway/v1/plant/+/statistics",), **server) as (
            down,
            heard,
        ),
    ):
        seen.wait_for(Connected)
        heard.wait_for(Connected)
        # retained, as on the real wire: the other side may subscribe a moment later
        up.publish(Outgoing(topic("plant", "wrist-1", Kind.STATISTICS), b"tables", retain=True))
        assert heard.wait_for(Received).payload == b"tables"  # type: ignore[union-attr]
        for name in (topic("plant", "wrist-1", Kind.ACK), topic("plant", "_all", Kind.HEAD)):
            down.publish(Outgoing(name, b"for you"))
            assert seen.wait_for(Received).topic == name  # type: ignore[union-attr]


STOLEN = ("headway-plant-aggregator", "aggregator", "plant.wrist-2", "wrist-2", "")


def takes_over_nobody(
    broker: Broker, thief: dict[str, object], device: dict[str, object], server: dict[str, object]
) -> None:
    """Whatever client id a device connects with, the others' connections stay, and what waits for them too."""
    statistics, ack = topic("plant", "wrist-2", Kind.STATISTICS), topic("plant", "wrist-2", Kind.ACK)
    subscriptions = device_subscriptions("plant", "wrist-2", "5" * 64)
    lasting: dict[str, object] = {"session_expiry_s": 600}
    with connection(broker, "headway-plant-aggregator", ("headway/v1/plant/+/statistics",), **server) as (down, heard):
        heard.wait_for(Connected)
        with connection(broker, "plant.wrist-2", subscriptions, **device, **lasting) as (up, seen):
            seen.wait_for(Connected)
            for name in STOLEN:
                with connection(broker, name, (), **thief) as (_, stolen):
                    stolen.wait_for(Connected)
            up.publish(Outgoing(statistics, b"tables"))
            assert heard.wait_for(Received).payload == b"tables"  # type: ignore[union-attr]
            assert not [event for event in seen.rest() if isinstance(event, Disconnected)]
        down.publish(Outgoing(ack, b"while you slept"))
        assert not heard.wait_for(Delivered).refused  # type: ignore[union-attr]
        for name in STOLEN:
            with connection(broker, name, (), **thief, **lasting) as (_, stolen):
                stolen.wait_for(Connected)
        assert not [event for event in heard.rest() if isinstance(event, Disconnected)]
    with connection(broker, "plant.wrist-2", subscriptions, **device, **lasting) as (_, seen):
        again = seen.wait_for(Connected)
        assert isinstance(again, Connected)
        assert again.session_present
        assert seen.wait_for(Received).payload == b"while you slept"  # type: ignore[union-attr]


def test_with_the_howtos_configuration_no_device_takes_over_the_session_of_another(
    guarded_broker: Broker, tmp_path: Path
) -> None:
    thief, device, server = (login(tmp_path, name) for name in ("wrist-1", "wrist-2", "aggregator"))
    takes_over_nobody(guarded_broker, {**thief}, {**device}, {**server})


def test_with_client_certificates_no_device_takes_over_the_session_of_another(
    authority: Authority, tmp_path: Path
) -> None:
    certificate, key = authority.issue("server")
    extra = f"cafile {authority.ca_file}\ncertfile {certificate}\nkeyfile {key}\n"
    added = HOWTO.split("### Client certificates instead of passwords")[1].split("```\n")[1].split("```")[0]
    binding = next(line for line in HOWTO.splitlines() if line.startswith("use_username_as_clientid"))

    def proof(name: str) -> dict[str, object]:
        certificate, key = authority.issue(name)
        return {"tls": True, "ca_file": authority.ca_file, "cert_file": certificate, "key_file": key}

    with Broker(extra=f"{extra}{added}{binding}\n") as broker:
        takes_over_nobody(broker, proof("wrist-1"), proof("wrist-2"), proof("aggregator"))


def test_a_wrong_password_is_one_line(guarded_broker: Broker, tmp_path: Path) -> None:
    (tmp_path / "p").write_text("wrong")
    with connection(guarded_broker, username="wrist-1", password_file=tmp_path / "p") as (_, events):
        event = events.wait_for(Disconnected)
        assert isinstance(event, Disconnected)
        assert event.response is Response.PERSON
        assert "(13" in event.reason  # mosquitto says 134 or 135, by version
        assert "\n" not in event.reason


def test_a_changed_password_needs_no_restart(guarded_broker: Broker, tmp_path: Path) -> None:
    file = tmp_path / "p"
    with connection(guarded_broker, username="wrist-1", password_file=file) as (_, events):
        missing = events.wait_for(Disconnected)
        assert isinstance(missing, Disconnected)
        assert missing.reason.endswith(f"password_file {file}: No such file or directory; check the path")
        file.write_text("wrong")
        events.wait_for(Disconnected, lambda event: f"its password in {file}, which is read again" in event.reason)
        file.write_text("secret")
        events.wait_for(Connected)


@pytest.mark.parametrize("spoiled", ["missing", "text", "folder"])
def test_a_certificate_file_that_turns_good_later_needs_no_restart(
    tls_broker: Broker, authority: Authority, tmp_path: Path, spoiled: str
) -> None:
    certificate, key = authority.issue("wrist-1")
    own = tmp_path / "own.pem"
    if spoiled == "text":
        own.write_text("no certificate")
    elif spoiled == "folder":
        own.mkdir()
    files = {"ca_file": authority.ca_file, "cert_file": own, "key_file": key}
    with connection(tls_broker, tls=True, **files) as (_, events):
        event = events.wait_for(Disconnected)
        assert isinstance(event, Disconnected)
        assert f"cannot use cert_file {own} or key_file {key} for TLS" in event.reason
        if spoiled == "folder":
            own.rmdir()
        own.write_bytes(certificate.read_bytes())
        events.wait_for(Connected)


def tls_only(authority: Authority, address: str = "127.0.0.1", days: int = 0) -> Broker:
    certificate, key = authority.issue("server", address=address, shift=datetime.timedelta(days=days))
    return Broker(extra=f"cafile {authority.ca_file}\ncertfile {certificate}\nkeyfile {key}\n")


@pytest.mark.parametrize(
    ("address", "days", "said", "response"),
    [
        ("127.0.0.1", -9, "certificate has expired; this machine's clock says", Response.PERSON),
        ("127.0.0.1", 9, "certificate is not yet valid; this machine's clock says", Response.RETRY),
        ("127.0.0.9", 0, "set host to a name that is in the certificate", Response.PERSON),
    ],
)
def test_what_is_wrong_with_the_brokers_certificate_is_said(
    authority: Authority, address: str, days: int, said: str, response: Response
) -> None:
    with (
        tls_only(authority, address, days) as broker,
        connection(broker, tls=True, ca_file=authority.ca_file) as (_, events),
    ):
        event = events.wait_for(Disconnected)
        assert isinstance(event, Disconnected)
        assert said in event.reason
        assert event.response is response


def test_another_protocol_or_nobody_behind_the_port_is_said(authority: Authority) -> None:
    with tls_only(authority) as broker, connection(broker) as (_, events):
        event = events.wait_for(Disconnected)
        assert "check port and tls" in event.reason  # type: ignore[union-attr]
    with Broker() as broker:
        with connection(broker, tls=True, ca_file=authority.ca_file) as (_, events):
            event = events.wait_for(Disconnected)
            assert "check port and tls" in event.reason or "speak TLS on port" in event.reason  # type: ignore[union-attr]
        broker.stop()
        with connection(broker) as (_, events):
            assert "does the broker run there?" in events.wait_for(Disconnected).reason  # type: ignore[union-attr]
        with connection(broker, host="nowhere.invalid") as (_, events):
            assert "check host and name server" in events.wait_for(Disconnected).reason  # type: ignore[union-attr]


def test_two_clients_with_one_id_find_out_also_where_the_broker_says_nothing() -> None:
    quick = {"reconnect_min_s": 0.05, "reconnect_spread_s": 0.05, "session_expiry_s": 60}
    with Broker() as broker, connection(broker, "plant.pump", **quick) as (transport, first):
        first.wait_for(Connected)
        with connection(broker, "plant.pump", **quick) as (_, second):
            second.wait_for(Connected)
            event = first.wait_for(Disconnected, lambda event: event.code == 142)
            assert isinstance(event, Disconnected)
            assert "another client uses this id; give each machine its own (client id plant.pump)" in event.reason
            for _ in range(4):
                first.wait_for(Disconnected)
            assert transport._jitter._bound_s == 0.5, "two of them must not fight at full speed"


def test_a_broker_that_restarts_is_no_second_client() -> None:
    with (
        Broker() as broker,
        connection(broker, reconnect_min_s=0.05, reconnect_max_s=0.1, session_expiry_s=60) as (_, events),
    ):
        for _ in range(5):
            events.wait_for(Connected)
            broker.stop()
            # the attempts in between tell a broker that is away
            events.wait_for(Disconnected, lambda event: "does the broker run there?" in event.reason)
            broker.start()
        events.wait_for(Connected)
        assert not [event for event in events.rest() if isinstance(event, Disconnected) and event.code]


@pytest.fixture
def websocket_broker(authority: Authority) -> Iterator[Callable[..., Broker]]:
    started: list[Broker] = []

    def start(*, tls: bool = False) -> Broker:
        port = free_port()
        certificate, key = authority.issue("server")
        extra = f"listener {port} 127.0.0.1\nprotocol websockets\n"
        if tls:
            extra += f"cafile {authority.ca_file}\ncertfile {certificate}\nkeyfile {key}\n"
        broker = Broker(extra=extra)
        try:
            broker.__enter__()
        except BrokerFailed as error:
            if "ebsocket" in str(error):
                pytest.skip(f"this mosquitto has no WebSockets: {str(error).splitlines()[-1]}")
            raise
        started.append(broker)
        broker.port = port
        return broker

    yield start
    for broker in started:
        broker.__exit__()


def test_websockets(websocket_broker: Callable[..., Broker]) -> None:
    with connection(websocket_broker(), websocket_path="/mqtt") as (transport, events):
        loops_back(transport, events)


def test_websockets_over_tls(websocket_broker: Callable[..., Broker], authority: Authority) -> None:
    broker = websocket_broker(tls=True)
    with connection(broker, websocket_path="/mqtt", tls=True, ca_file=authority.ca_file) as (transport, events):
        loops_back(transport, events)


def test_a_session_outlives_the_connection_and_the_broker(fresh_broker: Broker) -> None:
    with connection(fresh_broker, "sleeper", session_expiry_s=600) as (_, events):
        first = events.wait_for(Connected)
        assert isinstance(first, Connected)
        assert not first.session_present
    with connection(fresh_broker, "other", ()) as (transport, events):
        events.wait_for(Connected)
        transport.publish(Outgoing("t/a", b"while you slept"))
        events.wait_for(Delivered)
    fresh_broker.restart()
    with connection(fresh_broker, "sleeper", session_expiry_s=600) as (_, events):
        again = events.wait_for(Connected)
        assert isinstance(again, Connected)
        assert again.session_present
        assert events.wait_for(Received).payload == b"while you slept"  # type: ignore[union-attr]


def test_mosquittos_default_window_is_kept(tmp_path: Path) -> None:
    """mosquitto takes 20 unacknowledged messages from a client unless told otherwise, and throws out who sends more."""
    with (
        Broker(autosave=100_000, extra="max_inflight_messages 20\n") as broker,
        connection(broker, receive_max=1000) as (transport, events),
    ):
        events.wait_for(Connected)
        for _ in range(400):
            transport.publish(Outgoing("t/a", bytes(1000)))
        for _ in range(400):
            assert isinstance(events.wait_for(Received), Received)
        assert not [event for event in events.rest() if isinstance(event, Disconnected)]
