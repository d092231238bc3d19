"""One round of averaging by one library, in a process of its own: what `average_rounds` measures. Run by it.

    python -m benchmarks.round_peers live FOLDER COUNT PRECISION ROBUST our aggregator: COUNT updates come, then a round
    python -m benchmarks.round_peers again FOLDER COUNT                 the same devices, round after round
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
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.round_parts import FEW, SAMPLES, delta, our_model, resident_kb, timed

MALICIOUS = 0.2

# what makes a message of a delta, reads one, runs a round over what was read, and tells the bytes of one delta
Peer = tuple[Callable[[Any], bytes], Callable[[bytes], Any], Callable[[list[Any]], object], Callable[[Any], int]]


class Again(Exception):
    """Takes a round back, so that the next one finds the same updates."""


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
            from benchmarks.our_rounds import live

            found = live(Path(folder), int(count), precision, rule)
        case "again", [folder, count]:
            from benchmarks.our_rounds import again

            found = again(Path(folder), int(count))
        case "flower", [count, tree]:
            found = flower(int(count), tree)
        case "robust", [peer, count]:
            found = robust(peer, int(count))
        case _:
            raise SystemExit(__doc__)
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:])
