"""Tests a delivered bundle in a process of its own: a bundle that kills its runtime kills only that.

    python -m edge_agent.delivery.selftest BUNDLE RELEASE_MIN [PUBLIC_KEY]

It checks the signature and the release, loads the bundle on a runtime of this machine, compares that with the
bundle's probe windows, and measures the time a window takes. One JSON line on stdout: the result.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edge_agent.delivery.ports import Examined
from edge_agent.pipeline import Pipeline
from edge_agent.runtime import open_runtime
from headway.bundle import read_public_key, read_variant
from headway.errors import HeadwayError, RemoteError, StoreError
from headway.fields import Fields, parse_json
from headway.median import median
from headway.ports import Clock, SystemClock

REPEATS = 5
OUTPUT_BYTES_MAX = 64 * 1024


def examine(bundle: Path, release_min: int, public_key: Path | None, clock: Clock) -> Examined:
    """Everything the test does, in this process. Raises HeadwayError with the reason it fails."""
    key = None if public_key is None else read_public_key(public_key)
    variant = read_variant(bundle, public_key=key, release_min=release_min)
    pipeline = Pipeline(variant, open_runtime(variant))
    took_ms = []
    for _ in range(REPEATS):
        for row in range(len(variant.probe_inputs)):
            began_s = clock.monotonic_s()
            features = pipeline.features(variant.probe_inputs[row : row + 1])
            took_ms.append(1000 * (clock.monotonic_s() - began_s))
            if not np.isfinite(features.embedding).all():
                return Examined("the embedding of a probe window is not finite")
    return Examined("", variant.space, pipeline.runtime_name, median(took_ms))


class Subprocess:
    """Implements `edge_agent.delivery.ports.SelfTest` with a process and a time limit.

    Raises StoreError when the machine cannot start one now.
    """

    def __init__(self, bundle: Path, release_min: int, public_key: Path | None, timeout_s: float, clock: Clock) -> None:
        self._clock, self._timeout_s = clock, timeout_s
        self._deadline_s = clock.monotonic_s() + timeout_s
        command = [sys.executable, "-m", "edge_agent.delivery.selftest", str(bundle), str(release_min)]
        command += [] if public_key is None else [str(public_key)]
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        except OSError as error:
            raise StoreError(f"cannot start the self-test of {bundle}: {error.strerror or error}") from error

    def poll(self) -> Examined | None:
        if self._process.poll() is None:
            if self._clock.monotonic_s() < self._deadline_s:
                return None
            self.stop()
            return Examined(f"the self-test took more than {self._timeout_s:g} s")
        output = self._process.stdout.read(OUTPUT_BYTES_MAX) if self._process.stdout is not None else b""
        self.stop()
        if not output:
            return Examined(f"the self-test's process ended with code {self._process.returncode} and said nothing")
        return decode_examined(output)

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


def decode_examined(output: bytes) -> Examined:
    """What the process printed. Runtimes may print lines of their own before ours, so the last one counts."""
    try:
        last = output.strip().splitlines()[-1]
        fields = Fields(parse_json(last, "the self-test's result", RemoteError), "the self-test's result", RemoteError)
        tested = Examined(
            fields.text("problem", length_max=1000),
            fields.text("space", length_max=64),
            fields.text("runtime"),
            fields.number("latency_ms", low=0.0),
        )
        fields.finish()
    except (RemoteError, IndexError) as error:
        return Examined(f"the self-test printed no result: {error}")
    return tested


def main(arguments: Sequence[str]) -> int:
    bundle, release_min, *key = arguments
    try:
        tested = examine(Path(bundle), int(release_min), Path(key[0]) if key else None, SystemClock())
    except HeadwayError as error:
        tested = Examined(" ".join(str(error).split())[:500])
    with contextlib.suppress(BrokenPipeError):
        print(json.dumps({name: getattr(tested, name) for name in Examined.__dataclass_fields__}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
