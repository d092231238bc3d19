"""Runs the backbone of a bundle on trial in a process of its own: one that kills its runtime kills only that.

The device waits for the answer, so that never two backbones are busy at once, and never longer than a limit. A process
that is dead, late or wrong ends the trial, and nothing else.
"""

from __future__ import annotations

import contextlib
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from edge_agent.pipeline import Features, Pipeline
from headway.arrays import AnyArray, Float32
from headway.errors import HeadwayError, StoreError
from headway.fields import Fields
from headway.ports import Clock
from headway.tensors import decode_tensors, encode_tensors

LENGTH_BYTES = 8
MESSAGE_BYTES_MAX = 64 << 20
RECEIVE_BYTES = 1 << 16


class TrialFailed(HeadwayError):
    """The bundle on trial cannot be tried any further; the reason in one line."""


@dataclass(frozen=True, slots=True)
class Shadowed:
    """Features of one window under the new bundle, and how long each bundle took for it; 0: not measured."""

    features: Features
    old_ms: float = 0.0
    new_ms: float = 0.0


class Shadow(Protocol):
    """The backbone of a bundle on trial."""

    def ready(self) -> bool:
        """Whether it can be asked now. Does not wait. Raises TrialFailed when it never will."""
        ...

    def features(self, window: Float32) -> Shadowed:
        """window: float32 (1, *input_shape), as the sensor gave it. Raises TrialFailed."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


class InProcess:
    """A pipeline in this process, for programs that bring their own. Implements `Shadow`."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    def ready(self) -> bool:
        return True

    def features(self, window: Float32) -> Shadowed:
        try:
            return Shadowed(finite(self._pipeline.features(window)))
        except (HeadwayError, RuntimeError, ValueError) as error:
            raise TrialFailed(f"a window that is served now fails: {one_line(error)}") from error

    def close(self) -> None:
        return


class Subprocess:
    """The process, with limits in time. served: the pipeline that serves, run on the same window for its time.

    Implements `Shadow`. Raises StoreError when the machine cannot start a process now.
    """

    def __init__(
        self,
        bundle: Path,
        public_key: Path | None,
        served: Pipeline,
        clock: Clock,
        *,
        window_s_max: float,
        start_s_max: float,
    ) -> None:
        self._served, self._clock = served, clock
        self._deadline_s = clock.monotonic_s() + start_s_max
        self._ready = False
        self._ours, theirs = socket.socketpair()
        self._ours.settimeout(window_s_max)
        command = [sys.executable, "-m", "edge_agent.trial.worker", str(theirs.fileno()), str(bundle)]
        command += [] if public_key is None else [str(public_key)]
        nothing = subprocess.DEVNULL
        try:
            self._process = subprocess.Popen(
                command, stdin=nothing, stdout=nothing, stderr=nothing, pass_fds=[theirs.fileno()]
            )
        except OSError as error:
            self._ours.close()
            raise StoreError(f"cannot start the trial of {bundle}: {error.strerror or error}") from error
        finally:
            theirs.close()

    def ready(self) -> bool:
        if not self._ready and select.select([self._ours], [], [], 0.0)[0]:
            self._receive()
            self._ready = True
        if not self._ready and self._clock.monotonic_s() > self._deadline_s:
            raise TrialFailed("the process of the new bundle did not start in time")
        return self._ready

    def features(self, window: Float32) -> Shadowed:
        began_s = self._clock.monotonic_s()
        self._served.features(window)
        old_ms = 1000 * (self._clock.monotonic_s() - began_s)
        with self._failures_named():
            send(self._ours, encode_tensors({"window": window}, {}))
        arrays, fields = self._receive()
        new_ms = fields.number("took_ms", low=0.0)
        return Shadowed(Features(arrays["embedding"], arrays["codes"]), old_ms, new_ms)

    def close(self) -> None:
        self._ours.close()
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    def _receive(self) -> tuple[dict[str, AnyArray], Fields]:
        with self._failures_named():
            payload = receive(self._ours)
        if payload is None:
            code = self._process.wait()
            raise TrialFailed(f"the process of the new bundle ended with code {code}")
        arrays, meta = decode_tensors(payload, "answer of the new bundle", TrialFailed, MESSAGE_BYTES_MAX)
        fields = Fields(meta, "answer of the new bundle", TrialFailed)
        problem = fields.text("problem", "", length_max=1000)
        if problem:
            raise TrialFailed(problem)
        return arrays, fields

    @contextlib.contextmanager
    def _failures_named(self) -> Iterator[None]:
        try:
            yield
        except TimeoutError as error:
            limit_s = self._ours.gettimeout()
            raise TrialFailed(f"the new bundle took more than window_s_max, {limit_s:g} s, for a window") from error
        except OSError as error:
            raise TrialFailed(f"the process of the new bundle is gone: {error.strerror or error}") from error


def send(connection: socket.socket, payload: bytes) -> None:
    """One message with its length before it."""
    connection.sendall(len(payload).to_bytes(LENGTH_BYTES, "little") + payload)


def receive(connection: socket.socket) -> bytes | None:
    """The next message; None when the other side is gone. Raises TimeoutError, OSError."""
    header = _exactly(connection, LENGTH_BYTES)
    if header is None:
        return None
    length = int.from_bytes(header, "little")
    if length > MESSAGE_BYTES_MAX:
        raise TrialFailed(f"a message of {length} bytes; at most {MESSAGE_BYTES_MAX} are taken")
    return _exactly(connection, length)


def _exactly(connection: socket.socket, count: int) -> bytes | None:
    parts = bytearray()
    while len(parts) < count:
        part = connection.recv(min(count - len(parts), RECEIVE_BYTES))
        if not part:
            return None
        parts += part
    return bytes(parts)


def finite(features: Features) -> Features:
    """Raises TrialFailed where an embedding is not finite."""
    if not np.isfinite(features.embedding).all():
        raise TrialFailed("the backbone gave an embedding that is not finite")
    return features


def one_line(error: BaseException) -> str:
    """What an error says, in one short line."""
    return " ".join(str(error).split())[:300] or type(error).__name__
