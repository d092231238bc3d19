"""One real agent, aggregator and broker, for figures of how long an operator waits for the device's answer."""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from aggregator.store.location import sqlite_url
from aggregator.store.sql import SqlStore
from testbed.broker import Broker, die_with_parent

DEVICE = "pump"
ROUNDS = 40
WAIT_S, POLL_S = 60.0, 0.02
BIN = Path(sys.executable).parent


def timed(doc: str | None, what: str, ready: Callable[[SqlStore], bool], one: Callable[[SqlStore, int], float]) -> None:
    """Print how long `one` takes, seconds, in so many rounds as the command line says. ready: the first may begin."""
    parser = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N", help=f"{what} that are timed ({ROUNDS})")
    rounds = parser.parse_args().rounds
    with _running() as store:
        wait_for(lambda: ready(store))
        times_s = sorted(one(store, number) for number in range(rounds))
    p95_s = times_s[min(len(times_s) - 1, int(0.95 * len(times_s)))]
    print(f"{rounds} {what}, from asking to the device's answer:")
    print(f"median {statistics.median(times_s):.2f} s, p95 {p95_s:.2f} s, longest {times_s[-1]:.2f} s")


def wait_for(done: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while not done():
        if time.monotonic() > deadline_s:
            raise SystemExit(f"nothing came of it within {WAIT_S:.0f} s")
        time.sleep(POLL_S)


@contextmanager
def _running() -> Iterator[SqlStore]:
    """The store of the running aggregator."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        broker = stack.enter_context(Broker())
        bundle, state_dir, config = _bundle(folder), folder / "aggregator", folder / "agent.toml"
        config.write_text(
            f'[device]\nid = "{DEVICE}"\nfleet = "test"\n[bundle]\npath = "{bundle}"\n[storage]\nstate_dir = "state"\n'
            f'[remote]\ntrial_s = 0\n[mqtt]\nhost = "{broker.host}"\nport = {broker.port}\n'
        )
        place = ["--fleet", "test", "--bundle", str(bundle), "--state-dir", str(state_dir)]
        server = [str(BIN / "edge-fleet"), "serve", "--host", broker.host, "--port", str(broker.port), *place]
        for words in (server, [str(BIN / "edge-agent"), "--log-level", "warning", "run", str(config)]):
            process = subprocess.Popen(words, preexec_fn=die_with_parent, stderr=subprocess.DEVNULL)
            stack.callback(process.wait)
            stack.callback(process.kill)
        wait_for(lambda: (state_dir / "aggregator.sqlite").exists())
        store = SqlStore(sqlite_url(state_dir))
        stack.callback(store.close)
        yield store


def _bundle(folder: Path) -> Path:
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-m", "tests.system.make_model", str(folder)]
    subprocess.run(command, check=True, env=environment, capture_output=True)
    bundle = folder / "tiny.hwb"
    words = [folder / "tiny.keras", "--data", folder / "train.npz", "--out", bundle]
    subprocess.run([str(BIN / "edge-convert"), *map(str, words)], check=True, capture_output=True)
    return bundle
