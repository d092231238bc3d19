"""Makes the saved state of one version: ``python -m tests.golden.state.make VERSION``, from the root of the repository.

Goldens of a version are made once, by the code of that version, and never again: they stand for the disks of machines
that run it. This program refuses a version whose folder exists. When the shape of saved state changes, a migration
comes with it, the old folder stays, and the new code makes one more folder beside it.

    *.zip               a folder as it was left, to the byte; packed because SQLite's pages are mostly empty
    walk.hwb            the bundle of all of them: eight values in, the same eight out, three classes
    windows.npz         64 windows (x) and their classes (y), to predict and to learn
    agent-exact         wrist: a fleet's head and prior, drift, corrected labels, added, renamed and removed classes,
                        windows learned by their prediction; killed with a journal and a file claimed, not yet learned
    agent-forked        knee: restored from an older backup, so it tells from a baseline on; a delivered bundle in slot
                        a; labels that wait for the policy; killed while it is connected
    agent-gradient      hand: a fleet that averages; updates in the outbox, rounded to int8 with a residual; killed
    server-exact        plant: devices, one removed, a delivery, a report of which one part came, refusals
    server-average      mill: two devices that send updates, a head from them, updates that wait
    agent.toml, aggregator.toml     every key of that version; written by hand, into the finished folder
    expected.json       what each of them must still know (reading.py)

v0.2-COMMIT holds the two servers alone, as that commit left them: what was landed between two versions must open, too.

Every class at work is the program's own; between them stands a broker of a few lines, and time is a number.
"""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

# before anything imports numpy: one BLAS thread, as the programs themselves run
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import onnx
from onnx import TensorProto, helper

from aggregator.commands.deliver import Order, deliver_bundle
from aggregator.commands.place import Place
from aggregator.reach import LocalFleet
from edge_agent.condition import LOCK
from edge_agent.config import read_config
from edge_agent.daemon import write_condition
from edge_agent.delivery.slots import Slots, file_sha256
from edge_agent.learner.learner import HeadLearner
from edge_agent.pipeline import Pipeline
from edge_agent.runtime import open_runtime
from edge_agent.sensors.spool import Spool
from edge_agent.startup.active_bundle import Opened
from edge_agent.startup.device import build_device
from edge_agent.startup.restore import restore_learner
from edge_agent.startup.restored_agent import accepted_variant, open_agent
from edge_agent.store.recovery import DATABASE, Backup, open_store
from edge_agent.store.store import SQLiteStore
from headway.bundle.variant import Backbone, Variant, read_variant
from headway.ports import Connected, Outgoing, Received
from headway.wire.bundle_transfer import Desired
from headway.wire.codec import PART_BYTES
from headway.wire.messages import ReportPart, Update
from headway.wire.topics import ALL, Kind, parse_topic, topic
from tests.edge_agent.variants import SIZE, variant, windows
from tests.golden.state.reading import (
    STATE,
    Server,
    describe_agent,
    describe_server,
    learn_more,
    opened_server,
    packed,
    unpacked,
)

AGENT_TOML = """\
[device]
id = "{device}"
fleet = "{fleet}"
[bundle]
path = "../walk.hwb"
[storage]
state_dir = "state"
[sensor]
spool_dir = "spool"
predictions_dir = "predictions"
poll_interval_s = 0.01
[sync]
interval_s = 0.1
{sync}
[learner]
{learner}
[policy]
{policy}
[mqtt]
host = "localhost"
"""
SERVER_TOML = """\
[fleet]
name = "{fleet}"
[bundle]
path = "../walk.hwb"
[storage]
state_dir = "state"
[publish]
method = "{method}"
interval_s = 0.0
prior_devices_min = 2
[averaging]
updates_min = 3
round_s = 86400.0
[limits]
heads_kept_max = 2
"""


@dataclass
class Clock:
    """Time that moves when told to."""

    now_s: float = 100.0

    def monotonic_s(self) -> float:
        return self.now_s

    def wall_s(self) -> float:
        return 1.8e9 + self.now_s


@dataclass
class Broker:
    """Carries messages between the devices and one aggregator, and retains."""

    server: Server
    clock: Clock
    devices: dict[str, Device] = field(default_factory=dict)
    queue: list[Outgoing] = field(default_factory=list)
    retained: dict[str, Outgoing] = field(default_factory=dict)

    def settle(self) -> None:
        """Deliver until nobody has anything more to say."""
        while self.queue:
            said, self.queue = self.queue, []
            for message in said:
                if message.retain:
                    self.retained[message.topic] = message
            self.hand_out(self.server.tell(*(Received(m.topic, m.payload) for m in said)))

    def hand_out(self, messages: Sequence[Outgoing]) -> None:
        """What the aggregator says goes to the devices that listen there."""
        for message in messages:
            if message.retain:
                self.retained[message.topic] = message
            address = parse_topic(message.topic)
            for name, device in self.devices.items():
                if name == address.device or address.device == ALL:
                    device.loop.handle(Received(message.topic, message.payload))

    def tick(self) -> None:
        """A second passes for the aggregator."""
        self.clock.now_s += 1.0
        self.hand_out(self.server.tell())


@dataclass
class DeviceWire:
    """A device's connection to the broker; while there is none, nothing is published."""

    broker: Broker | None = None

    def start(self) -> None:
        return

    def stop(self) -> None:
        return

    def publish(self, message: Outgoing) -> int | None:
        if self.broker is None:
            return None
        self.broker.queue.append(message)
        return 1


class Device:
    """One device in its folder: what `Daemon` puts together, driven turn by turn."""

    def __init__(self, folder: Path, clock: Clock, seed: int, **text: str) -> None:
        self.folder, self.clock = folder, clock
        self.bits = random.Random(seed).getrandbits
        folder.mkdir(parents=True)
        (folder / "agent.toml").write_text(AGENT_TOML.format(**{"sync": "", "learner": "", "policy": ""} | text))
        self.config = read_config(folder / "agent.toml")
        self.state = self.config.state_dir
        self.state.mkdir()
        lock = os.open(self.state / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        write_condition(lock, "good: frozen serves")
        os.close(lock)
        self.files = 0
        self.wire = DeviceWire()

    def boot(self) -> None:
        slots = Slots(self.state, self.config.bundle)
        self.store, self.backup = open_store(slots.store_dir), Backup(slots.store_dir)
        model = accepted_variant(replace(self.config, bundle=slots.bundle), self.store)
        counted = slots.pointer.boot, slots.pointer.consumed
        self.agent = open_agent(self.config, model, self.store, self.bits, self.backup.ack_record(), counted=counted)
        opened = Opened(model, Pipeline(model, open_runtime(model)), self.store, self.backup, self.agent)
        sensor, wire = Spool(self.config.sensor), self.wire
        self.loop = build_device(self.config, self.clock, opened, sensor, connect=lambda will: wire)
        self.loop.start()

    def connect(self, broker: Broker) -> None:
        self.wire.broker = broker
        broker.devices[self.config.device] = self
        self.loop.handle(Connected(session_present=False))
        for message in list(broker.retained.values()):
            if message.payload and parse_topic(message.topic).device in (ALL, self.config.device):
                self.loop.handle(Received(message.topic, message.payload))
        self.turn(broker)

    def disconnect(self, broker: Broker) -> None:
        self.wire.broker = None
        del broker.devices[self.config.device]

    def drop(self, **arrays: Any) -> str:
        """A file for the spool."""
        self.files += 1
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        name = f"{self.files:04d}.npz"
        (self.config.sensor.spool_dir / name).write_bytes(buffer.getvalue())
        return name

    def turn(self, broker: Broker | None = None) -> None:
        for _ in range(3):  # what the first turn tells is answered in the second
            self.clock.now_s += 1.0
            self.loop.turn()
            if broker is not None:
                broker.settle()

    def learn(self, broker: Broker | None = None, **arrays: Any) -> None:
        self.drop(**arrays)
        self.turn(broker)

    def stop(self) -> None:
        """As on SIGTERM: a checkpoint and a backup."""
        self.loop.stop()
        self.backup.back_up(self.store)
        self.store.close()

    def kill(self) -> None:
        """What is on the disk at this moment stays, SQLite's log included; and it is all that the device knew."""
        on_disk = shutil.copytree(self.state, self.folder / "on-disk")
        self.store.close()
        slots = Slots(self.state, self.config.bundle)
        store = SQLiteStore(slots.store_dir / DATABASE)
        learner = HeadLearner(read_variant(slots.bundle), self.config.learner)
        assert restore_learner(store, learner) == self.agent.sync_state
        assert learner.encode() == self.agent.learner.encode()
        store.close()
        shutil.rmtree(self.state)
        on_disk.rename(self.state)


def named(y: np.ndarray, names: Sequence[str] = ("idle", "walk", "run")) -> np.ndarray:
    return np.array([names[index] for index in y])


def numbered(prefix: str, count: int) -> np.ndarray:
    return np.array([f"{prefix}-{number:03d}" for number in range(count)])


def bundle(release: int = 1) -> Variant:
    """A backbone that every runtime gives the same bits for: it hands on what comes in."""
    rows = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", SIZE]) for name in ("input", "output")]
    graph = helper.make_graph([helper.make_node("Identity", ["input"], ["output"])], "g", rows[:1], rows[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    backbone = Backbone("backbone.onnx", "onnx", "float32", True, model.SerializeToString(), {"onnxruntime": "1.20"})
    return replace(variant(), backbones=(backbone,), release=release, version=f"1.0.{release}")


def make_exact(root: Path, clock: Clock, broker: Broker) -> None:
    """The exact fleet: two devices that the others start from, wrist, and one that is removed."""
    gone = Device(root / "scratch-gone", clock, 4, device="gone", fleet="plant")
    for number, name in enumerate(("ankle", "belt")):
        device = Device(root / f"scratch-{name}", clock, number, device=name, fleet="plant")
        device.boot()
        device.connect(broker)
        x, y = windows(40, drift=0.3, seed=number)
        device.learn(broker, x=x, y=y)
        device.stop()
        broker.settle()
        device.disconnect(broker)
    gone.boot()
    gone.connect(broker)
    x, y = windows(9, seed=33)
    gone.learn(broker, x=x, y=y)
    gone.disconnect(broker)
    gone.kill()
    wrist(root / "agent-exact", clock, broker)


def wrist(folder: Path, clock: Clock, broker: Broker) -> None:
    learner = "horizon_rows = 24\nwanted_labels_max = 4\nnew_classes = true\nself_training = 0.6"
    device = Device(folder, clock, 7, device="wrist", fleet="plant", learner=learner)
    device.boot()
    device.connect(broker)
    assert device.agent.learner.prior_samples == 80, "it starts from what the others told; nine more are no step"
    x, y = windows(300, drift=0.3, seed=10)
    for start in range(0, 300, 30):
        part = slice(start, start + 30)
        device.learn(broker, x=x[part], y=named(y[part]), id=numbered(f"early-{start}", 30))
    device.learn(broker, id=np.array(["early-270-022", "early-270-023"]), y=np.array(["run", ""]))
    x, _ = windows(12, seed=11)
    device.learn(broker, x=x + np.float32(2.0), y=np.array(["fall", "stumble", "swim"] * 4))
    device.learn(broker, rename_class=np.array([["fall", "tumble"]]), remove_class=np.array(["swim"]))
    device.learn(broker, rename_class=np.array([["run", "sprint"]]))
    x, y = windows(120, drift=0.3, seed=12)
    for start in range(0, 120, 30):
        part = slice(start, start + 30)
        device.learn(broker, x=x[part], y=named((y[part] + 1) % 3, ("idle", "walk", "sprint")))
    x, _ = windows(18, seed=13)
    device.learn(broker, x=x, id=numbered("later", 18))
    device.learn(broker, id=numbered("later", 5), y=named(np.arange(5) % 3, ("idle", "walk", "sprint")))
    device.stop()
    broker.settle()
    device.disconnect(broker)
    # the last run: nobody to talk to, then the power goes
    device.boot()
    x, y = windows(6, drift=0.3, seed=14)
    device.learn(x=x, y=named((y + 1) % 3, ("idle", "walk", "sprint")), id=numbered("last", 6))
    device.learn(id=np.array(["later-002", "later-011", "last-004"]), y=np.array(["idle", "tumble", "walk"]))
    x, _ = windows(6, seed=16)
    device.learn(x=x, id=numbered("open", 6))
    device.learn(rename_class=np.array([["stumble", "trip"]]))
    x, y = windows(3, seed=15)
    name = device.drop(x=x, y=named(y, ("idle", "walk", "sprint")))
    claimed = next(Spool(device.config.sensor).claim(device.agent.sync_state.consumed + 1))
    assert claimed.name == name
    device.kill()


def knee(folder: Path, clock: Clock, broker: Broker) -> None:
    """Restored from an older backup of its whole disk."""
    device = Device(
        folder,
        clock,
        8,
        device="knee",
        fleet="plant",
        learner='horizon_rows = 32\nkind = "exact"',
        policy='trigger = "labels"\nevery_labels = 8',
    )
    device.boot()
    device.connect(broker)
    x, y = windows(24, drift=0.2, seed=20)
    device.learn(broker, x=x, y=y, id=numbered("before", 24))
    device.stop()
    broker.settle()
    device.disconnect(broker)
    older = shutil.copytree(device.state, folder / "older")
    device.boot()
    device.connect(broker)
    x, y = windows(16, drift=0.2, seed=21)
    device.learn(broker, x=x, y=y)
    device.stop()
    broker.settle()
    device.disconnect(broker)
    shutil.rmtree(device.state)
    older.rename(device.state)
    receive_bundle(device, folder)
    device.boot()
    device.connect(broker)
    told = device.agent.sync_state.epoch
    device.learn(broker, id=np.array(["before-020"]), y=np.array([2]))
    assert device.agent.sync_state.epoch != told, "it has begun a new epoch"
    x, y = windows(12, drift=0.2, seed=22)
    device.learn(broker, x=x, y=np.where(np.arange(12) < 6, y, -1), id=numbered("after", 12))
    x, y = windows(5, drift=0.2, seed=23)
    device.learn(broker, x=x, y=y, id=numbered("learned", 5))
    assert device.agent.learner.labels == 24 + 6 + 5
    x, y = windows(6, drift=0.2, seed=24)
    device.learn(broker, x=x, y=np.where(np.arange(6) < 4, y, -1), id=numbered("waiting", 6))
    device.learn(broker, id=np.array(["waiting-000", "waiting-004"]), y=np.array([-1, 0]))
    device.disconnect(broker)
    device.kill()


def receive_bundle(device: Device, folder: Path) -> None:
    """A delivery that ran well, after one that did not."""
    slots = Slots(device.state, device.config.bundle)
    slots.refuse(Desired("0" * 64, 1, "walk", "0.9.0", 1), "the self-test says: no runtime here can run it")
    payload = bundle(2).encode()
    (folder / "new.hwb").write_bytes(payload)
    desired = Desired(file_sha256(folder / "new.hwb"), len(payload), "walk", "1.0.2", 2)
    (folder / "new.hwb").unlink()
    slots.begin(desired)
    slots.append(0, payload)
    assert slots.whole(desired)
    slots.count_test()
    space = bundle(2).space
    slots.switch(space, bundle(1).space, boot=1, consumed=1)
    slots.count_start()
    slots.confirm(2)


def unfinished_report(broker: Broker) -> None:
    """A device with large tables has sent the last of two parts; another sends what is no message."""
    part = ReportPart("hip", 77, 5, 1, PART_BYTES + 100, "ab" * 32, bytes(100))
    broken = Received(topic("plant", "hip", Kind.METRICS), b"{")
    broker.hand_out(broker.server.tell(Received(topic("plant", "hip", Kind.STATISTICS), part.encode()), broken))


def operate(root: Path, server: Server, broker: Broker) -> None:
    """The operator removes a device and orders a bundle."""
    with server.store.transaction():
        server.store.request_removal("gone", broker.clock.wall_s())
    broker.tick()
    new = root / "new.hwb"
    bundle(2).write(new)
    order = Order(new, ("ankle", "belt"), everybody=False, withdraw=False, public_key=None)
    place = Place(None, str(server.settings.state_dir))
    deliver_bundle(order, LocalFleet(place.store, place.configured, place.folder, broker.clock), broker.clock)
    broker.tick()
    new.unlink()


def hand(root: Path, clock: Clock, broker: Broker) -> None:
    """The averaging fleet: two devices, one of which goes on alone."""
    learner = 'kind = "gradient"\nupdate_labels = 4\nreplay_rows = 24\nhorizon_rows = 16'
    text = {"fleet": "mill", "learner": learner, "sync": 'update_precision = "int8"'}
    device = Device(root / "agent-gradient", clock, 9, device="hand", **text)
    thumb = Device(root / "scratch-thumb", clock, 10, device="thumb", **text)
    for number, one in enumerate((device, thumb)):
        one.boot()
        one.connect(broker)
        x, y = windows(12 - 4 * number, drift=0.6, seed=40 + number)
        one.learn(broker, x=x, y=y, id=numbered(f"early-{number}", len(x)))
    device.learn(broker, id=np.array(["early-0-010"]), y=np.array([1]))
    device.stop()
    broker.settle()
    device.disconnect(broker)
    device.boot()
    x, y = windows(14, drift=0.6, seed=43)
    device.learn(x=x, y=y, id=numbered("alone", 14))
    x, _ = windows(6, seed=44)
    device.learn(x=x, id=numbered("unlabelled", 6))
    device.kill()


def described(archive: Path, folder: Path) -> dict[str, Any]:
    """What a copy of a packed state knows."""
    state = unpacked(archive, folder / "copy")
    os.chdir(state)
    if archive.stem.startswith("agent"):
        rows = np.load(folder / "windows.npz")
        found = describe_agent(state, rows["x"])
        updates = learn_more(state, rows["x"], rows["y"]).of(Kind.UPDATE)
        if updates:
            # the first after those that waited: what rounding took from them is in it
            delta = Update.decode(updates[found["outbox_rows"]]).delta
            found["next_update"] = [[round(float(value), 8) for value in row] for row in delta]
    else:
        found = describe_server(state)
    os.chdir(folder)
    shutil.rmtree(folder / "copy")
    return found


def make(version: str) -> None:
    target = STATE / version
    if target.exists():
        sys.exit(f"error: {target} exists; goldens of a version are never made again")
    root = STATE / f".{version}"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    bundle().write(root / "walk.hwb")
    x, y = windows(64, drift=0.4, seed=1000)
    np.savez(root / "windows.npz", x=x, y=y)
    gone_epoch = 0
    for name, fleet, method in (("server-exact", "plant", "exact"), ("server-average", "mill", "average")):
        folder, clock = root / name, Clock()
        folder.mkdir()
        (folder / "aggregator.toml").write_text(SERVER_TOML.format(fleet=fleet, method=method))
        os.chdir(folder)
        with ExitStack() as stack:
            server = stack.enter_context(opened_server(folder, clock))
            broker = Broker(server, clock)
            if method == "exact":
                make_exact(root, clock, broker)
                knee(root / "agent-forked", clock, broker)
                unfinished_report(broker)
                with server.store.transaction():
                    gone = server.store.device("gone")
                assert gone is not None
                gone_epoch = gone.epoch
                operate(root, server, broker)
            else:
                hand(root, clock, broker)
    os.chdir(root)
    for folder in (*root.glob("scratch-*"), *root.glob("agent-*/predictions")):
        shutil.rmtree(folder)
    found: dict[str, Any] = {}
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        archive = packed(folder)
        shutil.rmtree(folder)
        found[folder.name] = described(archive, root)
    found["server-exact"]["gone_epoch"] = gone_epoch
    (root / "expected.json").write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    os.chdir(STATE)
    root.rename(target)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m tests.golden.state.make VERSION, for example v0.2")
    make(sys.argv[1])
