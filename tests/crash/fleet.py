"""Seven real processes, one of which dies at a time."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aggregator.config import sqlite_url
from aggregator.store.sql import SqlStore
from edge_agent.config import LearnerSettings
from edge_agent.learner.learner import HeadLearner
from edge_agent.pipeline import Pipeline
from edge_agent.runtime import open_runtime
from edge_agent.startup.restore import restore_learner
from edge_agent.store.store import SQLiteStore
from headway.bundle.variant import Variant, read_variant
from headway.maths.solve import fleet_head
from headway.maths.statistics import Statistics, merge
from headway.wire.messages import PublishedHead, StatisticsReport
from testbed.broker import Broker, die_with_parent
from tests.system.make_model import CLASSES, data

BIN = Path(sys.executable).parent
ROWS_A_FILE = 4
PAUSE_S = (0.02, 0.7)
SETTLE_TIMEOUT_S = 180.0
AGENT_TOML = """\
[device]
id = "{name}"
fleet = "crash"
[bundle]
path = "{bundle}"
[storage]
state_dir = "state"
[sensor]
poll_interval_s = 0.05
[sync]
interval_s = 0.2
ack_timeout_s = 2
whole_bytes_max = 0
[mqtt]
host = "{host}"
port = {port}
reconnect_max_s = 0.5
"""


class Shortfall(Exception):
    """Something was lost, counted twice, or did not come to rest in time."""


@dataclass(frozen=True)
class Report:
    """What the run came to."""

    labels: int
    killed: Counter[str]

    def __str__(self) -> str:
        victims = ", ".join(f"{name} {count}" for name, count in sorted(self.killed.items()))
        return (
            f"{sum(self.killed.values())} kills ({victims}): {self.labels} labels, 0 lost, 0 double, "
            "fleet head bit-identical to one solved in one place"
        )


class CrashFleet:
    """A context manager; every process it started is gone afterwards."""

    def __init__(self, folder: Path, devices: int, seed: int) -> None:
        self._folder, self._random, self._seed = folder, random.Random(seed), seed
        self._names = [f"d{number}" for number in range(devices)]
        self._broker = Broker()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._given: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {name: [] for name in self._names}
        self._killed: Counter[str] = Counter()
        self._stack = contextlib.ExitStack()

    @property
    def labels(self) -> int:
        """Labels handed to the agents so far."""
        return sum(len(y) for parts in self._given.values() for _, y in parts)

    def __enter__(self) -> CrashFleet:
        with contextlib.ExitStack() as stack:
            self._bundle = make_bundle(self._folder)
            stack.enter_context(self._broker)
            stack.callback(self._stop)
            self._start("aggregator")
            for name in self._names:
                (self._folder / name / "spool").mkdir(parents=True)
                text = AGENT_TOML.format(name=name, bundle=self._bundle, host=self._broker.host, port=self._broker.port)
                (self._folder / name / "agent.toml").write_text(text)
                self._start(name)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def kill_one(self) -> None:
        """Hand labels out, wait a random moment, kill a random process, start it again."""
        for name in self._random.sample(self._names, 2):
            self._feed(name)
        time.sleep(self._random.uniform(*PAUSE_S))
        victim = self._random.choice([*self._names, "aggregator", "broker"])
        self._killed["agents" if victim in self._names else victim] += 1
        if victim == "broker":
            self._broker.kill()
            self._broker.start()
            return
        process = self._processes[victim]
        if process.poll() is not None:
            raise Shortfall(f"{victim} ended by itself, code {process.returncode}:\n{self._log(victim)}")
        process.send_signal(signal.SIGKILL)
        process.wait()
        self._start(victim)

    def settle(self) -> Report:
        """Wait until everything is learned, sent and stored; compare with the truth. Raises Shortfall."""
        variant = read_variant(self._bundle)
        pipeline = Pipeline(variant, open_runtime(variant))
        truth = {name: self._truth(name, variant, pipeline) for name in self._names}
        whole = merge(list(truth.values()))
        deadline_s = time.monotonic() + SETTLE_TIMEOUT_S
        while (head := self._head()) is None or head.samples < whole.samples:
            if time.monotonic() > deadline_s:
                counted = 0 if head is None else head.samples
                raise Shortfall(f"{whole.samples - counted} of {whole.samples} labels are not counted")
            time.sleep(0.2)
        self._stop()
        head = self._head()
        if head is None or head.samples != whole.samples:
            raise Shortfall(f"the fleet counts {head and head.samples} of {whole.samples} labels")
        for name in self._names:
            if self._learned(name, variant) != truth[name]:
                raise Shortfall(f"{name} has not learned exactly what it was given")
        stored = self._stored()
        for name in self._names:
            if stored.get(name, truth[name] if not truth[name].samples else None) != truth[name]:
                raise Shortfall(f"the aggregator's tables of {name} are not what it was given")
        wanted = fleet_head(variant.training_statistics, whole)
        if head.head.kernel.tobytes() + head.head.bias.tobytes() != wanted.kernel.tobytes() + wanted.bias.tobytes():
            raise Shortfall("the fleet's head differs from the one solved in one place")
        return Report(whole.samples, self._killed)

    def _feed(self, name: str) -> None:
        number = sum(map(len, self._given.values()))
        x, y = data(ROWS_A_FILE, seed=self._seed % 100_000 + number)
        order = np.random.default_rng(number).permutation(ROWS_A_FILE)
        x, y = x[order], y[order]
        part = self._folder / name / "spool" / f".{number:05d}.npz"
        np.savez(part, x=x, y=y)
        part.rename(part.with_name(f"{number:05d}.npz"))
        self._given[name].append((x, y))

    def _truth(self, name: str, variant: Variant, pipeline: Pipeline) -> Statistics:
        parts = self._given[name]
        if not parts:
            return Statistics.zeros(variant.training_statistics.size, variant.classes, variant.space)
        codes = pipeline.features(np.concatenate([x for x, _ in parts])).codes
        return Statistics.of(codes, np.concatenate([y for _, y in parts]), CLASSES, variant.space)

    def _learned(self, name: str, variant: Variant) -> Statistics:
        learner = HeadLearner(variant, LearnerSettings())
        restore_learner(SQLiteStore(self._folder / name / "state" / "agent.sqlite", read_only=True), learner)
        local: Statistics = learner.trainer.statistics  # type: ignore[union-attr]
        return local

    def _stored(self) -> dict[str, Statistics]:
        store = SqlStore(sqlite_url(self._folder / "aggregator"))
        with store.transaction():
            space = read_variant(self._bundle).space
            found = {
                row.device: StatisticsReport.decode(row.payload).statistics for row in store.every_statistics(space)
            }
        store.close()
        return found

    def _head(self) -> PublishedHead | None:
        if not (self._folder / "aggregator" / "aggregator.sqlite").exists():
            return None
        store = SqlStore(sqlite_url(self._folder / "aggregator"))
        with store.transaction():
            newest = store.head()
        store.close()
        return None if newest is None else PublishedHead.decode(newest.payload)

    def _start(self, name: str) -> None:
        if name == "aggregator":
            place = ["--host", self._broker.host, "--port", str(self._broker.port), "--fleet", "crash"]
            state = ["--bundle", str(self._bundle), "--state-dir", str(self._folder / "aggregator")]
            command = ["edge-fleet", "serve", *place, *state, "--publish-interval", "0.2"]
        else:
            command = ["edge-agent", "--log-level", "warning", "run", str(self._folder / name / "agent.toml")]
        with (self._folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [str(BIN / command[0]), *command[1:]], stdout=log, stderr=log, preexec_fn=die_with_parent
            )

    def _log(self, name: str) -> str:
        return "\n".join((self._folder / f"{name}.log").read_text(errors="replace").splitlines()[-8:])

    def _stop(self) -> None:
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes.clear()


def make_bundle(folder: Path) -> Path:
    """A bundle that edge-convert writes from a small Keras model."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    quiet = {"check": True, "capture_output": True, "env": environment}
    subprocess.run([sys.executable, "-m", "tests.system.make_model", str(folder)], **quiet)  # type: ignore[call-overload]
    data_file, out = folder / "train.npz", folder / "tiny.hwb"
    command = [BIN / "edge-convert", folder / "tiny.keras", "--data", data_file, "--out", out]
    subprocess.run([str(part) for part in command], **quiet)  # type: ignore[call-overload]
    return out
