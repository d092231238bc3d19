"""The engine on a Ray cluster: pieces go to worker actors, and those of an actor that dies go to another.

Actors hold nothing but the piece at hand, so supervision is this: a piece whose actor, or whose node, is gone is given
to another one, and where the cluster has none left, this process does the rest; new actors are asked for at the next
use. Where the head of the cluster is lost Ray ends this process, which starts again without it.
Nothing is lost, and nothing counts twice, because a piece is put into the result once, when it has come.

Imported by path: it loads Ray. The nodes need this release of headway, of one kind of processor, with one BLAS thread
(which Ray sets for an actor of one CPU): then floating-point results are the same to the bit, too.
"""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from typing import Any

import numpy as np

from aggregator.engine.engine import (
    MEDIAN,
    PRODUCTS,
    TRIMMED_MEAN,
    Key,
    Recount,
    batches,
    joined,
    piece,
    recounted,
)
from aggregator.engine.robust import COLUMNS, product_blocks, scores_of
from aggregator.engine_settings import EngineSettings
from aggregator.partial_sum import PartialSum
from aggregator.store import StoredStatistics
from headway.arrays import Float32, Float64
from headway.errors import ConfigError, ConflictError

LOG = logging.getLogger("headway.aggregator")
# how long a piece may take before its node is taken for lost; and how long a cluster may take to give an actor
PIECE_S, LOOK_S, START_S = 120.0, 1.0, 30.0
CONNECT_S = 5.0
# how long a cluster may take to let a program in
TRIAL_S = 60.0
_TRIAL = (
    "import logging, sys, ray; "
    "ray.init(address=sys.argv[1], log_to_driver=False, logging_level=logging.ERROR); ray.shutdown()"
)
Task = tuple[Callable[..., Any], tuple[Any, ...]]


class RayEngine:
    """Implements `aggregator.engine.Engine`. Raises ConflictError where there is no cluster, ConfigError where
    there is no Ray.

    Use it as a context: the actors end with it.
    """

    def __init__(self, settings: EngineSettings) -> None:
        try:
            import ray
        except ImportError as error:
            raise ConfigError("engine ray needs the extra ray: pip install headway[ray]") from error
        self._ray, self._settings = ray, settings
        _check_reachable(settings.address)
        _try_out(settings.address)
        try:
            ray.init(
                address=settings.address, ignore_reinit_error=True, log_to_driver=False, logging_level=logging.WARNING
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            line = " ".join(str(error).split())[:200]
            problem = f"no Ray cluster at {settings.address}: {line}"
            raise ConflictError(f"{problem}; start one, or leave engine out") from error
        self._remote: Any = ray.remote(num_cpus=1, max_restarts=0)(_Shard)
        self._actors: list[Any] = []
        self.lost = 0

    def __enter__(self) -> RayEngine:
        return self

    def __exit__(self, *_: object) -> None:
        for actor in self._actors:
            self._ray.kill(actor)
        self._ray.shutdown()

    def recount(self, rows: Iterable[StoredStatistics], empty: PartialSum, aside: frozenset[Key]) -> Recount:
        return joined(empty, self._results((recounted, (batch, empty, aside)) for batch in batches(rows)))

    def median(self, rows: Float32) -> Float64:
        return self._by_columns(MEDIAN, rows, 0.0)

    def trimmed_mean(self, rows: Float32, share: float) -> Float64:
        return self._by_columns(TRIMMED_MEAN, rows, share)

    def krum_scores(self, rows: Float32, malicious: int) -> Float64:
        return scores_of(self._pieces(PRODUCTS, rows, product_blocks(rows.shape[1])), len(rows), malicious)

    def _by_columns(self, rule: str, rows: Float32, share: float) -> Float64:
        blocks = [slice(start, start + COLUMNS) for start in range(0, rows.shape[1], COLUMNS)]
        return np.concatenate([*self._pieces(rule, rows, blocks, share)])

    def _pieces(self, rule: str, rows: Float32, blocks: Iterable[slice], share: float = 0.0) -> Iterator[Any]:
        """Of every block of coordinates, in order."""
        tasks = ((piece, (rule, np.ascontiguousarray(rows[:, block]), share)) for block in blocks)
        return self._in_order(tasks)

    def _in_order(self, tasks: Iterable[Task]) -> Iterator[Any]:
        numbered = ((_numbered, (number, *task)) for number, task in enumerate(tasks))
        waiting: dict[int, Any] = {}
        wanted = count()
        turn = next(wanted)
        for number, result in self._results(numbered):
            waiting[number] = result
            while turn in waiting:
                yield waiting.pop(turn)
                turn = next(wanted)

    def _results(self, tasks: Iterable[Task]) -> Iterator[Any]:
        """What every task comes to, in the order in which they end: as many at once as there are actors."""
        ray, left, again = self._ray, iter(tasks), deque[Task]()
        self._fill()
        running: dict[Any, tuple[Any, Task]] = {}
        idle = deque(self._actors)
        while True:
            while idle:
                task = again.popleft() if again else next(left, None)
                if task is None:
                    break
                actor = idle.popleft()
                running[actor.run.remote(*task)] = actor, task
            if not running:
                rest = again.popleft() if again else next(left, None)
                if rest is None:
                    return
                # no actor is left: the cluster is gone, or was never there
                yield rest[0](*rest[1])
                continue
            ready, _ = ray.wait([*running], num_returns=1, timeout=PIECE_S)
            for reference in ready or [*running]:
                actor, task = running.pop(reference)
                try:
                    result = ray.get(reference, timeout=LOOK_S)
                except ray.exceptions.RayTaskError:
                    raise  # of the work itself
                except ray.exceptions.RayError as error:
                    what = type(error).__name__
                    LOG.warning("a worker of the Ray cluster is gone (%s); its piece goes to another", what)
                    ray.kill(actor)
                    self.lost += 1
                    self._actors.remove(actor)
                    again.append(task)
                    continue
                idle.append(actor)
                yield result

    def _fill(self) -> None:
        """Ask for as many actors as the cluster has CPUs that are free, and wait until they answer."""
        ray = self._ray
        free = int(ray.available_resources().get("CPU", 0))
        wanted = [self._remote.remote() for _ in range(min(free, self._settings.actors_max - len(self._actors)))]
        waiting = {actor.run.remote(_here, ()): actor for actor in wanted}
        ready, missing = ray.wait([*waiting], num_returns=len(waiting), timeout=START_S) if waiting else ([], [])
        self._actors += [waiting[reference] for reference in ready]
        for reference in missing:
            ray.kill(waiting[reference])


def _check_reachable(address: str) -> None:
    """Ray itself tries for minutes. Raises ConflictError."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), CONNECT_S).close()
    except OSError as error:
        raise ConflictError(f"no Ray cluster at {address}: {error}; start one, or leave engine out") from error


def _try_out(address: str) -> None:
    """By a process of its own: where something listens that is no Ray, or a cluster hangs, Ray waits for minutes, then
    ends whoever asked, and a server would never serve. Raises ConflictError."""
    try:
        done = subprocess.run([sys.executable, "-c", _TRIAL, address], capture_output=True, text=True, timeout=TRIAL_S)
    except subprocess.TimeoutExpired as error:
        problem = f"no Ray cluster at {address}: it let nobody in within {TRIAL_S:g} s"
        raise ConflictError(f"{problem}; look at its nodes, or leave engine out") from error
    if done.returncode:
        line = next(
            (line for line in reversed(done.stderr.splitlines()) if line.strip()), "it ended the program that asked"
        )
        problem = f"no Ray cluster at {address}: {' '.join(line.split())[:200]}"
        raise ConflictError(f"{problem}; start one, or leave engine out")


class _Shard:
    """A worker on the cluster."""

    def run(self, work: Callable[..., Any], given: tuple[Any, ...]) -> Any:
        """Do one piece."""
        return work(*given)


def _numbered(number: int, work: Callable[..., Any], given: tuple[Any, ...]) -> tuple[int, Any]:
    return number, work(*given)


def _here() -> bool:
    return True
