"""One round of averaging by one library, in a process of its own: what `average_rounds` measures. Run by it.

    python -m benchmarks.round_peers live FOLDER COUNT PRECISION ROBUST our aggregator: COUNT updates come, then a round
    python -m benchmarks.round_peers fill FOLDER COUNT PRECISION        a store that holds COUNT updates
    python -m benchmarks.round_peers close FOLDER STRATEGY ROBUST READ  our round over that store, after a restart; READ
                                                                        first, in a quiet service, or never
    python -m benchmarks.round_peers flower COUNT TREE                  Flower's FedAvg over as many results
    python -m benchmarks.round_peers robust PEER COUNT                  the robust step alone, rows in memory

Each prints one JSON object: ``seconds`` and ``processor_s`` of the round alone, ``intake_ms`` of each update before it,
and ``grown_mb``: by how much the
process was larger at its peak than before the updates were there (`VmHWM` less `VmRSS` of /proc/PID/status, MB of 10^6
bytes).
"""

from __future__ import annotations

import os

os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")
# Flower tells its makers of every run unless it is told not to
os.environ["FLWR_TELEMETRY_ENABLED"] = "0"

import contextlib
import json
import logging
import sqlite3
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

CLASSES, FEATURES = 10, 1280
SHAPE = (CLASSES, FEATURES + 1)
SAMPLES = 50
MALICIOUS = 0.2
# of a round before the one that is measured, and how long it waits for more
FEW, ROUND_S = 20, 86_400.0
# messages of one transaction, as the service takes them
BATCH = 100

# what makes a message of a delta, reads one, runs a round over what was read, and tells the bytes of one delta
Peer = tuple[Callable[[Any], bytes], Callable[[bytes], Any], Callable[[list[Any]], object], Callable[[Any], int]]


class Again(Exception):
    """Takes a round back, so that the next one finds the same updates."""


def memory_kb(field: str) -> int:
    """A field of /proc/self/status in kB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1])
    raise RuntimeError(f"/proc/self/status has no {field}")


def resident_kb() -> int:
    """What the process holds now; `VmHWM` counts anew from here (proc(5), clear_refs)."""
    Path("/proc/self/clear_refs").write_text("5")
    return memory_kb("VmRSS")


def timed(run: Callable[[], object], before_kb: int) -> dict[str, float]:
    """Run it once."""
    wall, processor = time.perf_counter(), time.process_time()
    run()
    return {
        "seconds": time.perf_counter() - wall,
        "processor_s": time.process_time() - processor,
        "grown_mb": 1.024e-3 * (memory_kb("VmHWM") - before_kb),
    }


def delta(random: np.random.Generator) -> Any:
    """What a device sends: float32, of `SHAPE`."""
    return random.normal(0.01, 0.05, SHAPE).astype(np.float32)


def fill(folder: Path, count: int, precision: str) -> dict[str, float]:
    """Updates as devices encode them, in the store of an aggregator."""
    from aggregator.store import StoredUpdate, sqlite_url
    from aggregator.store.sql import SqlStore
    from headway.wire import Update
    from headway.wire.precision import Precision

    variant = our_model().variant
    random = np.random.default_rng(1)
    store = SqlStore(sqlite_url(folder))
    size = 0
    with store.transaction():
        for number in range(count):
            device = f"device-{number:05d}"
            sent = Update(
                device, 1, 1, 0, SAMPLES, variant.space, variant.head.classes, delta(random), 7, Precision(precision),
            )  # fmt: skip
            payload = sent.encode()
            size += len(payload)
            store.put_update(StoredUpdate(device, 1, 1, variant.space, payload, 1.8e9))
    store.close()
    return {"bytes": size / count}


def our_model() -> Any:
    """A bundle of as many features."""
    from headway_simulation.model import Model

    return Model(FEATURES, tuple(f"class-{index}" for index in range(CLASSES)))


def close(folder: Path, strategy: str, robust: str, read: str) -> dict[str, float]:
    """The round of `aggregator.heads.Rounds`, from the rows of the store to the new head.

    read: "first" where nothing was due for so long that all were read again; ``intake_ms`` is what that took of each.
    """
    from aggregator.heads import FleetModel
    from aggregator.heads.privacy_budget import PrivacyBudget
    from aggregator.heads.rounds import Rounds
    from aggregator.policy import AveragingPolicy, Method, Policy, Robust, Strategy
    from aggregator.store import sqlite_url
    from aggregator.store.sql import SqlStore

    model = FleetModel.of(our_model().variant)
    averaging = AveragingPolicy(strategy=Strategy(strategy), robust=Robust(robust))
    store = SqlStore(sqlite_url(folder))
    found: dict[str, float] = {}
    before_kb = resident_kb()

    def run() -> None:
        made, notes = rounds.close(1, 1.8e9)
        if made is None:
            raise RuntimeError(f"no head: {notes}")

    with contextlib.suppress(Again), store.transaction():
        policy = Policy(method=Method.AVERAGE, averaging=averaging)
        rounds = Rounds(model, policy, store, PrivacyBudget(store, model.space, policy.privacy), dict)
        count, intake = rounds.waiting, dict[str, float]()

        def read_again() -> None:
            for _ in range(count):
                rounds.read_some(0)

        if read == "first":
            intake["intake_ms"] = 1000 * timed(read_again, 0)["processor_s"] / count
        found = timed(run, before_kb) | intake
        raise Again
    store.close()
    return found


def live(folder: Path, count: int, precision: str, robust: str) -> dict[str, float]:
    """Updates as an aggregator takes them in, in batches of `BATCH`, each stored durably; then the round, from the last
    of them to the head that is published.

    ``intake_ms``: processor time of one update, from the message to the end of its transaction. ``clearing_s``: of what
    makes a round durable: the head is stored, its updates are deleted, the transaction ends. ``later_s``: of what is
    put off, at most: all pages of updates and of the round go from SQLite's log into the database. A service that goes
    on moves those of several rounds together, and a page that changed in each of them once.
    """
    from aggregator.core import Aggregator
    from aggregator.effects import Instant
    from aggregator.heads import FleetModel
    from aggregator.policy import AveragingPolicy, Limits, Method, Policy, Robust
    from aggregator.store import DATABASE, StoredHead, sqlite_url
    from aggregator.store.serving import ServingStore
    from headway.ports import Outgoing, Received
    from headway.wire import Kind, Update, topic
    from headway.wire.precision import Precision

    class TimedStore(ServingStore):
        """Tells what storing the head and deleting the updates take."""

        clearing_s = 0.0

        def put_head(self, row: StoredHead, kept_max: int) -> None:
            began_s = time.process_time()
            super().put_head(row, kept_max)
            self.clearing_s += time.process_time() - began_s

        def remove_updates(self, space: str, but_of: frozenset[str] = frozenset()) -> None:
            began_s = time.process_time()
            super().remove_updates(space, but_of)
            self.clearing_s += time.process_time() - began_s

    variant = our_model().variant
    averaging = AveragingPolicy(robust=Robust(robust), updates_min=count, round_s=ROUND_S)
    # half of the places that are free are taken in an hour at most
    limits = Limits(devices_max=4 * count + 1000)
    policy = Policy(method=Method.AVERAGE, publish_interval_s=0.0, averaging=averaging, limits=limits)
    random, now, sizes = np.random.default_rng(1), Instant(1000.0, 1.8e9), list[int]()
    told = list[object]()
    store = TimedStore(sqlite_url(folder))
    with store.transaction():
        core = Aggregator("bench", FleetModel.of(variant), policy, store)
        core.tick(now)

    def message(device: str, base_version: int) -> Received:
        what = SAMPLES, variant.space, variant.head.classes, delta(random), 7, Precision(precision)
        sent = Update(device, 1, 1, base_version, *what)
        sizes.append(len(sent.encode()))
        return Received(topic("bench", device, Kind.UPDATE), sent.encode())

    def receive() -> None:
        with store.transaction():
            core.receive(batch, now)
        store.checkpoint(idle=False)  # as the service does it, which has more to take in

    def one_round() -> dict[str, float]:
        told.clear()
        store.clearing_s = 0.0
        wall, began_s = time.perf_counter(), time.process_time()
        with store.transaction():
            entered_s = time.process_time()
            told.extend(core.tick(now))
            ticked_s, seconds = time.process_time(), time.perf_counter() - wall
        whole_s, round_s = time.process_time() - began_s, ticked_s - entered_s - store.clearing_s
        if not any(isinstance(one, Outgoing) and one.topic.endswith("/head") for one in told):
            raise RuntimeError(f"no head: {told}")
        grown_mb = 1.024e-3 * (memory_kb("VmHWM") - before_kb)
        return {"seconds": seconds, "processor_s": round_s, "grown_mb": grown_mb, "clearing_s": whole_s - round_s}

    # a round of few before, so that statements are made, as in a service that runs
    batch = [message(f"before-{number}", 0) for number in range(FEW)]
    before_kb = 0
    receive()
    now = Instant(1000.0 + ROUND_S, 1.8e9 + ROUND_S)
    one_round()
    sizes.clear()
    before_kb, intake_s = resident_kb(), 0.0
    for start in range(0, count, BATCH):
        batch = [message(f"device-{number:05d}", 1) for number in range(start, min(start + BATCH, count))]
        intake_s += timed(receive, before_kb)["processor_s"]
    found = one_round()
    with closing(sqlite3.connect(folder / DATABASE)) as another:
        later_s = timed(lambda: another.execute("PRAGMA wal_checkpoint(PASSIVE)"), before_kb)["processor_s"]
    store.close()
    return found | {"intake_ms": 1000 * intake_s / count, "later_s": later_s, "bytes": sum(sizes) / count}


def flower(count: int, tree: str) -> dict[str, float]:
    """Flower's FedAvg, from the serialised results that its server holds to the new parameters.

    ``intake_ms``: processor time of one result, from the bytes of its message to what the server holds, in memory.
    """
    logging.disable(logging.CRITICAL)
    random = np.random.default_rng(1)
    make, read, run, size = _server_tree() if tree == "server" else _serverapp_tree()
    run([read(make(delta(random))) for _ in range(FEW)])
    before_kb, intake_s, results = resident_kb(), 0.0, list[Any]()
    for _ in range(count):
        payload = make(delta(random))
        intake_s += timed(lambda payload=payload: results.append(read(payload)), before_kb)["processor_s"]  # type: ignore[misc]
    found = timed(lambda: run(results), before_kb)
    return found | {"bytes": size(results[0]), "intake_ms": 1000 * intake_s / count}


def _server_tree() -> Peer:
    """`flwr.server.strategy`."""
    from flwr.common import Code, FitRes, Status, ndarrays_to_parameters, serde
    from flwr.proto.transport_pb2 import ClientMessage
    from flwr.server.strategy import FedAvg

    def make(one: Any) -> bytes:
        result = FitRes(Status(Code.OK, ""), ndarrays_to_parameters([one]), SAMPLES, {})
        return bytes(serde.fit_res_to_proto(result).SerializeToString())

    strategy: Any = FedAvg()
    return (
        make,
        lambda payload: (None, serde.fit_res_from_proto(ClientMessage.FitRes.FromString(payload))),
        lambda results: strategy.aggregate_fit(1, results, []),
        lambda result: len(result[1].parameters.tensors[0]),
    )


def _serverapp_tree() -> Peer:
    """`flwr.serverapp.strategy`."""
    from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
    from flwr.common import serde
    from flwr.proto.message_pb2 import Message as ProtoMessage
    from flwr.serverapp.strategy import FedAvg
    from flwr.supercore.task_identity import TaskIdentity

    # as its server sets them for a running app
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, 1, 1

    def make(one: Any) -> bytes:
        content = RecordDict({"arrays": ArrayRecord([one]), "metrics": MetricRecord({"num-examples": SAMPLES})})
        reply = Message(content, reply_to=Message(RecordDict(), dst_node_id=1, message_type="train"))
        return bytes(serde.message_to_proto(reply).SerializeToString())

    def run(results: list[Any]) -> None:
        made: Any = strategy.aggregate_train(1, results)
        if made[0] is None:
            raise RuntimeError("Flower made no parameters of these replies")

    strategy: Any = FedAvg()
    return (
        make,
        lambda payload: serde.message_from_proto(ProtoMessage.FromString(payload)),
        run,
        lambda result: len(result.content["arrays"]["0"].data),
    )


def robust(peer: str, count: int) -> dict[str, float]:
    """The step alone: float32 rows in memory in, one row out. Peers: ours, numpy, flower; of each its rules."""
    random = np.random.default_rng(1)
    rows = np.stack([delta(random).ravel() for _ in range(count)])
    malicious = int(MALICIOUS * count)
    rules: dict[str, Callable[[], object]]
    if peer == "ours":
        from aggregator.engine.robust import krum, median, trimmed_mean

        rules = {
            "median": lambda: median(rows),
            "trimmed-mean": lambda: trimmed_mean(rows, MALICIOUS),
            "krum": lambda: krum(rows, [SAMPLES] * count, malicious, 1),
        }
    elif peer == "numpy":
        rules = {"median": lambda: np.median(rows, axis=0)}
    else:
        logging.disable(logging.CRITICAL)
        from flwr.server.strategy.aggregate import aggregate_krum, aggregate_median, aggregate_trimmed_avg

        results = [([row], SAMPLES) for row in rows]
        rules = {
            "median": lambda: aggregate_median(results),
            "trimmed-mean": lambda: aggregate_trimmed_avg(results, MALICIOUS),
            "krum": lambda: aggregate_krum(results, malicious, 0),
        }
    return {name: min(timed(rule, 0)["processor_s"] for _ in range(3)) for name, rule in rules.items()}


def main(arguments: list[str]) -> None:
    kind, *rest = arguments
    match kind, rest:
        case "fill", [folder, count, precision]:
            found = fill(Path(folder), int(count), precision)
        case "close", [folder, strategy, rule, read]:
            found = close(Path(folder), strategy, rule, read)
        case "live", [folder, count, precision, rule]:
            found = live(Path(folder), int(count), precision, rule)
        case "flower", [count, tree]:
            found = flower(int(count), tree)
        case "robust", [peer, count]:
            found = robust(peer, int(count))
        case _:
            raise SystemExit(__doc__)
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:])
