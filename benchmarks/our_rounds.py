"""Rounds of our aggregator as its service runs them, durably in SQLite: of `round_peers`."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from aggregator.core import Aggregator
from aggregator.effects import Instant
from aggregator.heads import FleetModel
from aggregator.policy import AveragingPolicy, Limits, Method, Policy, Robust
from aggregator.store import DATABASE, StoredHead, sqlite_url
from aggregator.store.serving import ServingStore
from benchmarks.round_parts import FEW, SAMPLES, delta, memory_kb, our_model, resident_kb, timed
from headway.ports import Outgoing, Received
from headway.wire import Kind, Update, topic
from headway.wire.precision import Precision

# how long a round waits for more
ROUND_S = 86_400.0
# messages of one transaction, as the service takes them
BATCH = 100
# rounds after which what is put off has come, and rounds of which the mean is taken
FIRST, MEASURED = 4, 20


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


class Server:
    """The aggregator without its broker; a round closes with `count` updates."""

    def __init__(self, folder: Path, count: int, precision: str, robust: str) -> None:
        averaging = AveragingPolicy(robust=Robust(robust), updates_min=count, round_s=ROUND_S)
        # half of the places that are free are taken in an hour at most
        limits = Limits(devices_max=4 * count + 1000)
        policy = Policy(method=Method.AVERAGE, publish_interval_s=0.0, averaging=averaging, limits=limits)
        self._variant, self._precision = our_model().variant, Precision(precision)
        self._random, self.sizes = np.random.default_rng(1), list[int]()
        self.now = Instant(1000.0, 1.8e9)
        self.store = TimedStore(sqlite_url(folder))
        with self.store.transaction():
            self._core = Aggregator("bench", FleetModel.of(self._variant), policy, self.store)
            self._core.tick(self.now)

    def message(self, device: str, base_version: int, sequence: int = 1) -> Received:
        variant = self._variant
        what = SAMPLES, variant.space, variant.head.classes, delta(self._random), 7, self._precision
        payload = Update(device, 1, sequence, base_version, *what).encode()
        self.sizes.append(len(payload))
        return Received(topic("bench", device, Kind.UPDATE), payload)

    def receive(self, batch: Sequence[Received]) -> None:
        with self.store.transaction():
            self._core.receive(batch, self.now)

    def one_round(self, before_kb: int) -> dict[str, float]:
        """From what was received last to the end of the transaction that publishes the head."""
        self.store.clearing_s = 0.0
        wall, began_s = time.perf_counter(), time.process_time()
        with self.store.transaction():
            entered_s = time.process_time()
            told = self._core.tick(self.now)
            ticked_s, seconds = time.process_time(), time.perf_counter() - wall
        whole_s, round_s = time.process_time() - began_s, ticked_s - entered_s - self.store.clearing_s
        if not any(isinstance(one, Outgoing) and one.topic.endswith("/head") for one in told):
            raise RuntimeError(f"no head: {told}")
        grown_mb = 1.024e-3 * (memory_kb("VmHWM") - before_kb)
        return {"seconds": seconds, "processor_s": round_s, "grown_mb": grown_mb, "clearing_s": whole_s - round_s}


def live(folder: Path, count: int, precision: str, robust: str) -> dict[str, float]:
    """Updates as an aggregator takes them in, in batches of `BATCH`, each stored durably; then the round, from the last
    of them to the head that is published.

    ``intake_ms``: processor time of one update, from the message to the end of its transaction. ``clearing_s``: of what
    makes a round durable: the head is stored, its updates are deleted, the transaction ends. ``later_s``: of what is
    put off, at most: all pages of updates and of the round go from SQLite's log into the database.
    """
    server = Server(folder, count, precision, robust)
    # a round of few before, so that statements are made, as in a service that runs
    server.receive([server.message(f"before-{number}", 0) for number in range(FEW)])
    server.now = Instant(1000.0 + ROUND_S, 1.8e9 + ROUND_S)
    server.one_round(0)
    server.sizes.clear()
    before_kb, intake_s = resident_kb(), 0.0
    for start in range(0, count, BATCH):
        names = [f"device-{number:05d}" for number in range(start, min(start + BATCH, count))]
        batch = [server.message(name, 1) for name in names]
        intake_s += _processor_s(lambda batch=batch: server.receive(batch))  # type: ignore[misc]
        intake_s += _processor_s(lambda: server.store.checkpoint(idle=False))  # as the service, which has more to do
    found = server.one_round(before_kb)
    with closing(sqlite3.connect(folder / DATABASE)) as another:
        later_s = _processor_s(lambda: another.execute("PRAGMA wal_checkpoint(PASSIVE)"))
    server.store.close()
    return found | {"intake_ms": 1000 * intake_s / count, "later_s": later_s, "bytes": sum(server.sizes) / count}


def again(folder: Path, count: int) -> dict[str, float]:
    """Means of `MEASURED` rounds of the same devices, one after the other, each of at most `BATCH` updates. What is put
    off is in them, of updates, too: pages of several rounds are moved together, one that changed in each of them once.

    ``processor_s``: of the round and what makes it durable, with its share of that; ``later_s``: this share.
    """
    server, before_kb = Server(folder, count, "float32", "none"), resident_kb()
    rounds, intake_s, later_s = list[dict[str, float]](), 0.0, 0.0
    for number in range(FIRST + MEASURED):
        if number == FIRST:
            rounds, intake_s, later_s = [], 0.0, 0.0
            before_kb = resident_kb()
        batch = [server.message(f"device-{device:05d}", number, number + 1) for device in range(count)]
        intake_s += _processor_s(lambda batch=batch: server.receive(batch))  # type: ignore[misc]
        later_s += _processor_s(lambda: server.store.checkpoint(idle=True))
        rounds.append(server.one_round(before_kb))
        later_s += _processor_s(lambda: server.store.checkpoint(idle=True))
    server.store.close()
    spent_s = later_s + sum(one["processor_s"] + one["clearing_s"] for one in rounds)
    return {
        "seconds": sum(one["seconds"] for one in rounds) / MEASURED,
        "processor_s": spent_s / MEASURED,
        "grown_mb": rounds[-1]["grown_mb"],
        "intake_ms": 1000 * intake_s / (MEASURED * count),
        "later_s": later_s / MEASURED,
    }


def _processor_s(run: Callable[[], object]) -> float:
    return timed(run, 0)["processor_s"]
