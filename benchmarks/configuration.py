"""How long a setting takes from the operator's command to the device's answer: real programs, a real broker.

    python -m benchmarks.configuration [--rounds 40]

Each round asks for another reporting interval in the store of the running aggregator, as `edge-fleet configure` does,
and waits until the device has answered that it holds. It needs mosquitto, and makes a tiny bundle with TensorFlow.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from aggregator.store import sqlite_url
from aggregator.store.rows import DEVICE, SETTINGS_STATES
from aggregator.store.sql import SqlStore
from aggregator.twins import change_settings
from headway.wire import ConfigurationState
from testbed.broker import Broker, die_with_parent

WAIT_S = 60.0
BIN = Path(sys.executable).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=40, metavar="N", help="changes that are timed (default 40)")
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder, Broker() as broker:
        times_s = sorted(timed(Path(folder), broker, rounds))
    p95_s = times_s[min(len(times_s) - 1, int(0.95 * len(times_s)))]
    print(f"{rounds} changes, from the command to the device's answer:")
    print(f"median {statistics.median(times_s):.2f} s, p95 {p95_s:.2f} s, longest {times_s[-1]:.2f} s")


def timed(folder: Path, broker: Broker, rounds: int) -> list[float]:
    bundle, state_dir = make_bundle(folder), folder / "aggregator"
    config = folder / "agent.toml"
    config.write_text(
        f'[device]\nid = "pump"\nfleet = "test"\n[bundle]\npath = "{bundle}"\n[storage]\nstate_dir = "state"\n'
        f'[remote]\ntrial_s = 0\n[mqtt]\nhost = "{broker.host}"\nport = {broker.port}\n'
    )
    place = ["--fleet", "test", "--bundle", str(bundle), "--state-dir", str(state_dir)]
    server = [str(BIN / "edge-fleet"), "serve", "--host", broker.host, "--port", str(broker.port), *place]
    commands = [server, [str(BIN / "edge-agent"), "--log-level", "warning", "run", str(config)]]
    running = [subprocess.Popen(words, preexec_fn=die_with_parent, stderr=subprocess.DEVNULL) for words in commands]
    try:
        wait_for(lambda: (state_dir / "aggregator.sqlite").exists())
        store = SqlStore(sqlite_url(state_dir))
        wait_for(lambda: said(store) is not None)
        return [one_change(store, 10 + number) for number in range(rounds)]
    finally:
        for process in running:
            process.kill()
            process.wait()


def one_change(store: SqlStore, interval_s: int) -> float:
    began_s = time.monotonic()
    with store.transaction():
        change_settings(store, DEVICE, "pump", {"sync.interval_s": interval_s}, (), time.time())

    def there() -> bool:
        state = said(store)
        return state is not None and state.values["sync.interval_s"] == interval_s

    wait_for(there)
    return time.monotonic() - began_s


def said(store: SqlStore) -> ConfigurationState | None:
    with store.transaction():
        row = store.rows(SETTINGS_STATES).get("pump")
    return None if row is None else ConfigurationState.decode(row.payload)


def wait_for(done: object) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while not done():  # type: ignore[operator]
        if time.monotonic() > deadline_s:
            raise SystemExit(f"nothing came of it within {WAIT_S:.0f} s")
        time.sleep(0.02)


def make_bundle(folder: Path) -> Path:
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    subprocess.run([sys.executable, "-m", "tests.system.make_model", str(folder)], check=True, env=environment)
    bundle = folder / "tiny.hwb"
    words = [folder / "tiny.keras", "--data", folder / "train.npz", "--out", bundle]
    subprocess.run([str(BIN / "edge-convert"), *map(str, words)], check=True, capture_output=True)
    return bundle


if __name__ == "__main__":
    main()
