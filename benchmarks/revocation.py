"""Three ways to shut a device out of a running mosquitto: what becomes of its live session, and of its next one.

    python -m benchmarks.revocation [--rounds 10] [--json FILE]

list: its certificate goes into the list of revoked ones (`crlfile`), and mosquitto reloads (SIGHUP). plug-in: the
dynamic-security plug-in deletes the client. takeover: the list, and then a connection under the device's name
(`aggregator.enrolment.revocation.shut_out`, what `edge-fleet revoke` does). Each round: a device connects, is shut out,
and tries again with new TLS sessions, and resumes its old one of TLS 1.2. docs/adr/0039-revocation.md.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import signal
import socket
import ssl
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from aggregator.enrolment.authority import Authority, Issued, Role
from aggregator.enrolment.revocation import shut_out
from headway.mqtt import MqttSettings
from headway.mqtt.tls import tls_context
from headway.mqtt.transport import MqttTransport
from headway.ports import Connected, Delivered, Disconnected, Outgoing, SystemClock, TransportEvent
from testbed.broker import Broker
from testbed.mosquitto import find_or_fetch

WAIT_S = 3.0
CONTROL = "$CONTROL/dynamic-security/v1"
CLOCK = SystemClock()
LISTENER = """\
cafile {folder}/ca.pem
certfile {folder}/server.pem
keyfile {folder}/server.pem
crlfile {folder}/revoked.pem
require_certificate true
use_identity_as_username true
use_username_as_clientid true
{more}
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """ended_s: from the order until the live session was gone, None if it was not within 3 s; the rest: whether a new
    connection was made afterwards, and whether one that resumes the old TLS session was."""

    ended_s: float | None
    connects_again: bool
    resumes: bool


class Bench:
    """A folder with an authority, a broker in it, and one device a round."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.authority = folder, Authority.open(folder, "bench", CLOCK.wall_s())
        (folder / "ca.pem").write_bytes(self.authority.pem)
        self.revoked: list[Issued] = []
        self.issue("_broker", Role.SERVER, "server.pem", ("127.0.0.1",))
        self.issue("_aggregator", Role.CLIENT, "aggregator.pem")
        self.write_list()

    def issue(self, name: str, role: Role, file: str, hosts: Sequence[str] = ()) -> Issued:
        key, issued = self.authority.issue_with_key(name, role, CLOCK.wall_s(), 2, hosts)
        (self.folder / file).write_bytes(key + issued.pem)
        (self.folder / file).chmod(0o600)
        return issued

    def write_list(self, more: Sequence[Issued] = ()) -> None:
        now_s = CLOCK.wall_s()
        listed = [(issued.serial, now_s) for issued in (*self.revoked, *more)]
        (self.folder / "revoked.pem").write_bytes(self.authority.revocations(listed, now_s))

    def mqtt(self, port: int, file: str) -> MqttSettings:
        identity = self.folder / file
        return MqttSettings(
            host="127.0.0.1", port=port, tls=True, ca_file=self.folder / "ca.pem", cert_file=identity,
            key_file=identity, reconnect_spread_s=60.0, reconnect_min_s=60.0,
        )  # fmt: skip


class Session:
    """A connection whose events are kept."""

    def __init__(self, mqtt: MqttSettings, name: str) -> None:
        self.events: queue.Queue[TransportEvent] = queue.Queue()
        self.transport = MqttTransport(mqtt, name, (), Outgoing("will", b""), self.events.put)
        self.transport.start()

    def came(self, kind: type) -> bool:
        """Whether an event of a kind comes within the time."""
        deadline_s = time.monotonic() + WAIT_S
        while (left_s := deadline_s - time.monotonic()) > 0:
            try:
                event = self.events.get(timeout=left_s)
            except queue.Empty:
                return False
            if isinstance(event, kind):
                return True
        return False


def connects(
    mqtt: MqttSettings, context: ssl.SSLContext, session: ssl.SSLSession | None = None
) -> ssl.SSLSession | None:
    """The TLS session of a connection that the broker acknowledged; None when it did not."""
    try:
        with (
            socket.create_connection((mqtt.host, mqtt.port), WAIT_S) as plain,
            context.wrap_socket(plain, server_hostname=mqtt.host, session=session) as link,
        ):
            link.sendall(bytes.fromhex("10 0e 00 04 4d 51 54 54 05 02 00 3c 00 00 01 78"))
            return link.session if link.recv(4)[:1] == b"\x20" else None
    except OSError:
        return None


def measure(bench: Bench, broker: Broker, out: Callable[[str, Issued], None], number: int) -> Outcome:
    """One round."""
    name = f"device-{number}"
    issued = bench.issue(name, Role.CLIENT, "device.pem")
    mqtt = bench.mqtt(broker.port, "device.pem")
    context = tls_context(mqtt, checked_in_handshake=True)
    assert context is not None
    earlier = connects(mqtt, context)
    live = Session(mqtt, name)
    assert live.came(Connected), "the device did not connect"
    begun_s = time.monotonic()
    out(name, issued)
    ended_s = time.monotonic() - begun_s if live.came(Disconnected) else None
    again = connects(mqtt, context) is not None
    resumes = connects(mqtt, context, earlier) is not None
    live.transport.stop()
    return Outcome(ended_s, again, resumes)


def ways(bench: Bench, broker: Broker) -> dict[str, Callable[[str, Issued], None]]:
    """What is done about a device, by name."""

    def listed(_: str, issued: Issued) -> None:
        bench.revoked.append(issued)
        bench.write_list()
        os.kill(broker.pid, signal.SIGHUP)

    def taken_over(name: str, issued: Issued) -> None:
        bench.revoked.append(issued)
        reload = ("kill", "-HUP", str(broker.pid))
        shut_out(name, bench.mqtt(broker.port, "aggregator.pem"), bench.authority, bench.write_list, reload, CLOCK)

    return {"list": listed, "takeover": taken_over}


def plug_in(bench: Bench, broker: Broker) -> Callable[[str, Issued], None]:
    """Makes a client of the plug-in for the device's sake, and deletes it."""
    admin = Session(bench.mqtt(broker.port, "aggregator.pem"), "_aggregator")
    assert admin.came(Connected), "the administrator did not connect"

    def command(**words: str) -> None:
        payload = json.dumps({"commands": [words]}).encode()
        assert admin.transport.publish(Outgoing(CONTROL, payload)) is not None
        assert admin.came(Delivered), "the plug-in did not answer"

    def deleted(name: str, _: Issued) -> None:
        command(command="createClient", username=name)
        command(command="deleteClient", username=name)

    return deleted


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found: dict[str, list[Outcome]] = {}
    with tempfile.TemporaryDirectory(prefix="headway-revocation-") as scratch:
        bench = Bench(Path(scratch))
        with Broker(extra=LISTENER.format(folder=scratch, more="")) as broker:
            for way, out in ways(bench, broker).items():
                found[way] = [measure(bench, broker, out, number) for number in range(options.rounds)]
        library = Path(find_or_fetch().library_path or "/usr/lib/x86_64-linux-gnu") / "mosquitto_dynamic_security.so"
        (bench.folder / "dynamic.json").write_text(json.dumps(_administration()))
        more = f"plugin {library}\nplugin_opt_config_file {scratch}/dynamic.json"
        with Broker(extra=LISTENER.format(folder=scratch, more=more)) as broker:
            out = plug_in(bench, broker)
            found["plug-in"] = [measure(bench, broker, out, number) for number in range(options.rounds)]
    for way, outcomes in found.items():
        ended = [outcome.ended_s for outcome in outcomes if outcome.ended_s is not None]
        after = f"median {statistics.median(ended) * 1e3:.0f} ms, most {max(ended) * 1e3:.0f} ms" if ended else "never"
        print(
            f"{way:10} live session ended in {len(ended)} of {len(outcomes)} ({after}); connects again "
            f"{sum(outcome.connects_again for outcome in outcomes)}; resumes {sum(o.resumes for o in outcomes)}"
        )
    if options.json:
        options.json.write_text(json.dumps({way: [asdict(one) for one in found[way]] for way in found}))


def _administration() -> dict[str, object]:
    rights = [
        {"acltype": kind, "topic": "$CONTROL/dynamic-security/#", "allow": True}
        for kind in ("publishClientSend", "publishClientReceive", "subscribePattern")
    ]
    return {
        "defaultACLAccess": dict.fromkeys(
            ("publishClientSend", "publishClientReceive", "subscribe", "unsubscribe"), False
        ),
        "clients": [{"username": "_aggregator", "roles": [{"rolename": "admin"}]}],
        "groups": [],
        "roles": [{"rolename": "admin", "acls": rights}],
    }


if __name__ == "__main__":
    main()
