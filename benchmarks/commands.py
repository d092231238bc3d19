"""How long a command takes from the operator to the result that the device has saved: real programs, a real broker.

    python -m benchmarks.commands [--rounds 40]

Each round asks for one command in the store of the running aggregator, as `edge-fleet command` does, and waits for its
result there. It needs mosquitto, and makes a tiny bundle with TensorFlow.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from aggregator.remote_commands import OPEN, ask, supported_by
from aggregator.store.location import sqlite_url
from aggregator.store.rows import DEVICE_COMMANDS
from aggregator.store.sql import SqlStore
from benchmarks.configuration import BIN, make_bundle, wait_for
from testbed.broker import Broker, die_with_parent

NAMES = ("sync-now", "diagnostics", "ask-for-labels")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=40, metavar="N", help="commands that are timed (default 40)")
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder, Broker() as broker:
        times_s = sorted(timed(Path(folder), broker, rounds))
    p95_s = times_s[min(len(times_s) - 1, int(0.95 * len(times_s)))]
    print(f"{rounds} commands, from asking to the result:")
    print(f"median {statistics.median(times_s):.2f} s, p95 {p95_s:.2f} s, longest {times_s[-1]:.2f} s")


def timed(folder: Path, broker: Broker, rounds: int) -> list[float]:
    bundle, state_dir = make_bundle(folder), folder / "aggregator"
    config = folder / "agent.toml"
    config.write_text(
        f'[device]\nid = "pump"\nfleet = "test"\n[bundle]\npath = "{bundle}"\n[storage]\nstate_dir = "state"\n'
        f'[mqtt]\nhost = "{broker.host}"\nport = {broker.port}\n'
    )
    place = ["--fleet", "test", "--bundle", str(bundle), "--state-dir", str(state_dir)]
    server = [str(BIN / "edge-fleet"), "serve", "--host", broker.host, "--port", str(broker.port), *place]
    programs = [server, [str(BIN / "edge-agent"), "--log-level", "warning", "run", str(config)]]
    running = [subprocess.Popen(words, preexec_fn=die_with_parent, stderr=subprocess.DEVNULL) for words in programs]
    try:
        wait_for(lambda: (state_dir / "aggregator.sqlite").exists())
        store = SqlStore(sqlite_url(state_dir))
        wait_for(lambda: is_there(store))
        return [one_command(store, NAMES[number % len(NAMES)]) for number in range(rounds)]
    finally:
        for process in running:
            process.kill()
            process.wait()


def is_there(store: SqlStore) -> bool:
    with store.transaction():
        return supported_by(store, "pump") is not None


def one_command(store: SqlStore, name: str) -> float:
    began_s = time.monotonic()
    with store.transaction():
        asked = ask(store, "pump", name, {}, "local:benchmark", time.time(), 60.0)

    def ended() -> bool:
        with store.transaction():
            row = store.rows(DEVICE_COMMANDS).get("pump", asked.id)
        return row is not None and row.state not in OPEN

    wait_for(ended)
    return time.monotonic() - began_s


if __name__ == "__main__":
    main()
