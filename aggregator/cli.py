"""``edge-fleet``: serve a fleet, look at its devices, take a device's contribution out."""

from __future__ import annotations

import os

# one thread for the small matrices of a head: the same bits on every machine, whatever its cores
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import fcntl
import hashlib
import json
import logging
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import entry_points
from pathlib import Path

import headway
from aggregator.bundle_sender import BundleSender
from aggregator.commands import as_json, as_table, deliver_bundle, list_deliveries, serving, shelf_of, summarise
from aggregator.config import DATABASE, Settings, read_settings, sqlite_url
from aggregator.core import Aggregator
from aggregator.heads import FleetModel
from aggregator.policy import Method
from aggregator.service import Service
from aggregator.store.sql import SqlStore
from headway.bundle import read_variant
from headway.errors import ConfigError, HeadwayError, StoreError
from headway.mqtt.transport import MqttTransport
from headway.ports import Outgoing, SystemClock, TransportEvent
from headway.sd_notify import SystemdNotifier
from headway.wire import checked_name

STATE_DIR = "/var/lib/headway-aggregator"
REMOVAL_TIMEOUT_S = 10.0
REMOVAL_POLL_S = 0.2


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the command; returns the exit code (see headway.errors for the families)."""
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    if rest and options.run is not _simulate:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    options.rest = rest
    logging.basicConfig(stream=sys.stderr, level=options.log_level.upper(), format="%(levelname)s %(name)s %(message)s")
    try:
        code: int = options.run(options)
        return code
    except HeadwayError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        # whoever read our output has closed it; keep the interpreter from complaining at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _serve(options: argparse.Namespace) -> int:
    settings = _settings(options)
    if not (settings.state_dir / DATABASE).exists():
        read_variant(settings.bundle)  # before anything is made for a bundle that cannot be used
    with _alone(settings.state_dir):
        while _serve_one_bundle(settings):
            logging.getLogger("headway.aggregator").info(
                "the fleet has moved to another bundle; starting again with it"
            )
    return 0


def _serve_one_bundle(settings: Settings) -> bool:
    """Serve until told to stop; True when there is another bundle to serve."""
    store = SqlStore(settings.database)
    bundle = serving(settings, store)
    model = FleetModel.of(read_variant(bundle))
    with store.transaction():
        identity = (hashlib.sha256(bundle.read_bytes()).hexdigest(), model.space)
        deliveries = BundleSender(settings.fleet, store, shelf_of(settings), settings.policy.delivery, identity)
        core = Aggregator(settings.fleet, model, settings.policy, store, deliveries)

    def connect(
        will: Outgoing, subscriptions: tuple[str, ...], on_event: Callable[[TransportEvent], None]
    ) -> MqttTransport:
        client_id = f"headway-{settings.fleet}-aggregator"
        return MqttTransport(settings.mqtt, client_id, subscriptions, will, on_event)

    clock, notifier = SystemClock(), SystemdNotifier.from_environment()
    service = Service(settings.fleet, core, store, connect, settings.service, clock, notifier)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: service.stop())
    superseded = service.run()
    store.close()
    return superseded


def _deliver(options: argparse.Namespace) -> int:
    url, state_dir = _place(options)
    return deliver_bundle(options, state_dir, _store_at(url, state_dir), SystemClock())


def _deliveries(options: argparse.Namespace) -> int:
    return list_deliveries(options, _existing_store(options))


def _devices(options: argparse.Namespace) -> int:
    store = _existing_store(options)
    with store.transaction():
        summaries = [summarise(row) for row in store.devices()]
    if options.json:
        print(json.dumps(as_json(summaries), indent=2))
    elif summaries:
        print(as_table(summaries, SystemClock().wall_s()))
    else:
        print("no device has reported yet")
    return 0


def _remove(options: argparse.Namespace) -> int:
    """Ask the running service, which holds the sum; it answers within its housekeeping interval."""
    device, clock = checked_name(options.device, "device"), SystemClock()
    store = _existing_store(options)
    with store.transaction():
        if store.device(device) is None:
            raise ConfigError(f"no device {device!r} in this fleet; `edge-fleet devices` lists them")
        store.request_removal(device, clock.wall_s())
    deadline_s = clock.monotonic_s() + REMOVAL_TIMEOUT_S
    while clock.monotonic_s() < deadline_s:
        with store.transaction():
            waiting = device in store.removal_requests()
        if not waiting:
            print(f"removed {device}; its statistics are subtracted, earlier averaged heads are not changed")
            return 0
        time.sleep(REMOVAL_POLL_S)
    print(f"noted: {device} will be removed when the aggregator runs")
    return 0


def _simulate(options: argparse.Namespace) -> int:
    """A program of its own, which runs agents too: it comes through an entry point, never by an import."""
    for command in entry_points(group="headway.commands", name="simulate"):
        code: int = command.load()(options.rest)
        return code
    raise ConfigError(
        "edge-fleet simulate needs the package 'simulation', which is not installed here; install headway"
    )


def _settings(options: argparse.Namespace) -> Settings:
    """The configuration file, or options alone; an option that is given wins over the file."""
    if options.config is None and (options.bundle is None or options.fleet is None):
        raise ConfigError("give --config FILE, or at least --bundle FILE and --fleet NAME")
    given = {
        ("fleet", "name"): options.fleet,
        ("bundle", "path"): options.bundle,
        ("storage", "state_dir"): options.state_dir or (STATE_DIR if options.config is None else None),
        ("mqtt", "host"): options.host,
        ("mqtt", "port"): options.port,
        ("publish", "method"): options.method,
        ("publish", "interval_s"): options.publish_interval_s,
    }
    return read_settings(options.config, {place: value for place, value in given.items() if value is not None})


def _existing_store(options: argparse.Namespace) -> SqlStore:
    """The store of a service that has run, wherever it is configured to be."""
    return _store_at(*_place(options))


def _place(options: argparse.Namespace) -> tuple[str, Path]:
    """URL of the database ('' for the default one), and the state folder."""
    if options.config is not None:
        given = {} if options.state_dir is None else {("storage", "state_dir"): options.state_dir}
        settings = read_settings(options.config, given)
        return settings.database_url, settings.state_dir
    return "", Path(options.state_dir or STATE_DIR)


def _store_at(url: str, state_dir: Path) -> SqlStore:
    if not url and not (state_dir / DATABASE).exists():
        raise StoreError(f"no aggregator has stored anything in {state_dir}; give --state-dir or --config")
    return SqlStore(url or sqlite_url(state_dir))


@contextmanager
def _alone(state_dir: Path) -> Iterator[None]:
    """Hold the state directory's lock: two services on one store would each publish their own sum."""
    try:
        state_dir.mkdir(parents=True, exist_ok=True)
        lock = (state_dir / "lock").open("w")
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise StoreError(f"another aggregator runs on {state_dir}; stop it or give another --state-dir") from error
    except OSError as error:
        raise StoreError(f"cannot use {state_dir}: {error.strerror or error}") from error
    with lock:
        yield


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="edge-fleet", description="Combines what a fleet of devices learned.")
    parser.add_argument("--version", action="version", version=f"edge-fleet {headway.__version__}")
    levels = ("debug", "info", "warning", "error")
    parser.add_argument("--log-level", default="info", choices=levels, help="what to write to stderr (default info)")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    serve = commands.add_parser("serve", help="run the aggregator of one fleet")
    _add_place(serve)
    serve.add_argument("--bundle", metavar="FILE", help="the bundle that the fleet runs")
    serve.add_argument("--fleet", metavar="NAME", help="first level of the fleet's topics")
    serve.add_argument("--host", help="broker (default localhost)")
    serve.add_argument("--port", type=int, help="broker's port (default 1883)")
    serve.add_argument("--method", choices=tuple(Method), help="how heads are made (default exact)")
    serve.add_argument(
        "--publish-interval-s", type=float, metavar="S", help="shortest time between two heads (default 5)"
    )
    serve.set_defaults(run=_serve)

    devices = commands.add_parser("devices", help="list the fleet's devices")
    _add_place(devices)
    devices.add_argument("--json", action="store_true", help="print JSON instead of a table")
    devices.set_defaults(run=_devices)

    remove = commands.add_parser("remove", help="subtract what a device contributed and forget the device")
    _add_place(remove)
    remove.add_argument("device", metavar="DEVICE")
    remove.set_defaults(run=_remove)

    simulate = commands.add_parser("simulate", add_help=False, help="what a fleet asks of network, broker, aggregator")
    simulate.set_defaults(run=_simulate)

    order = commands.add_parser("deliver", help="order a bundle for devices, or withdraw the order")
    _add_place(order)
    order.add_argument("bundle", type=Path, nargs="?", metavar="BUNDLE", help="the on-device variant, .hwb")
    order.add_argument("--devices", nargs="+", metavar="DEVICE", help="who should run it")
    order.add_argument("--all", action="store_true", help="every device, those that join later, and the aggregator")
    order.add_argument("--withdraw", action="store_true", help="order nothing, so that what is not switched stays off")
    order.add_argument("--public-key", type=Path, metavar="FILE", help="refuse a bundle not signed with this key")
    order.set_defaults(run=_deliver)

    orders = commands.add_parser("deliveries", help="show what is ordered and how far it is")
    _add_place(orders)
    orders.add_argument("--json", action="store_true", help="print JSON instead of a table")
    orders.set_defaults(run=_deliveries)
    return parser


def _add_place(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, metavar="FILE", help="aggregator.toml")
    parser.add_argument("--state-dir", metavar="DIR", help=f"where the store is (default {STATE_DIR})")


if __name__ == "__main__":
    sys.exit(main())
