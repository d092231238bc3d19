"""Power cuts to a whole machine: python -m tests.realsystem.powercut [amd64|arm64] [--cuts 30] [--seed N].

An agent of our own package learns in a virtual machine (QEMU, software emulation) from labelled files, and syncs with a
broker and an aggregator outside. At random moments QEMU is killed, which takes with it all that the guest had not
written to its disk. In the end every file that was answered before a cut must be counted, none twice, the database
must be sound, and the server must have counted the same labels. The seed is printed; it fixes moments and data.

--nosync --must-fail: the agent's fsync does nothing. Then the same run must fail, or it would prove nothing.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from aggregator.store.location import sqlite_url
from aggregator.store.sql import SqlStore
from headway.wire.messages import PublishedHead
from testbed.broker import Broker, die_with_parent
from testbed.debian import why_not as no_debian
from testbed.virtual import MACHINES, AgentEnded, Image, Virtual, VirtualFailed, make_disk, why_not
from tests.realsystem.packages import package
from tests.system.conftest import BIN, make_bundle
from tests.system.make_model import CLASSES, data

WINDOWS = 4
BOOT_TIMEOUT_S, FILE_TIMEOUT_S = 300.0, 60.0
# moments of a cut, in seconds after the first file of a boot was answered
CUT_S_MAX = 6.0
READY_FILES = 4000
AGENT_TOML = """\
[device]
id = "pump"
fleet = "cut"
[bundle]
path = "/data/model.hwb"
[storage]
state_dir = "/data/state"
[sensor]
spool_dir = "/data/spool"
predictions_dir = "/data/predictions"
poll_interval_s = 0.05
[sync]
interval_s = 1
ack_timeout_s = 5
[mqtt]
host = "10.0.2.2"
port = {port}
reconnect_max_s = 1.0
"""


class Lost(AssertionError):
    """Something that was promised is not there, or is there twice."""


class Server:
    """Broker and aggregator on this machine; the guest reaches them at 10.0.2.2."""

    def __init__(self, folder: Path, bundle: Path) -> None:
        self.folder, self.bundle, self.broker = folder, bundle, Broker()

    def __enter__(self) -> Server:
        self.broker.__enter__()
        command = [str(BIN / "edge-fleet"), "serve", "--host", self.broker.host, "--port", str(self.broker.port)]
        command += ["--fleet", "cut", "--publish-interval", "1", "--bundle", str(self.bundle)]
        with (self.folder / "server.log").open("wb") as log:
            self._process = subprocess.Popen(
                [*command, "--state-dir", str(self.folder / "aggregator")],
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent,
            )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(30)
        self.broker.__exit__()

    def counted(self) -> int:
        """Labels in the fleet's head."""
        if not (self.folder / "aggregator" / "aggregator.sqlite").exists():
            return 0
        store = SqlStore(sqlite_url(self.folder / "aggregator"))
        with store.transaction():
            row = store.head()
        store.close()
        return 0 if row is None else PublishedHead.decode(row.payload).samples


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.realsystem.powercut", description=__doc__.splitlines()[0])
    parser.add_argument("machine", choices=tuple(MACHINES), nargs="?", default="amd64")
    parser.add_argument("--cuts", type=int, default=30)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--nosync", action="store_true")
    parser.add_argument("--must-fail", action="store_true", help="exit 0 only if a promise is found broken")
    options = parser.parse_args()
    missing = no_debian() or why_not(MACHINES[options.machine])
    if missing:
        print(f"skipped: {missing}")
        return 0
    print(f"{options.machine}, seed {options.seed}: {options.cuts} power cuts", flush=True)
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="headway-powercut-") as name:
        folder = Path(name)
        try:
            report = run(options, folder)
        except (Lost, VirtualFailed) as failure:
            print(f"FAILED after {time.monotonic() - began_s:.0f} s, seed {options.seed}: {failure}")
            return int(not (options.must_fail and isinstance(failure, Lost | AgentEnded)))
    print(f"{report}; {time.monotonic() - began_s:.0f} s, seed {options.seed}")
    return int(options.must_fail)


def run(options: argparse.Namespace, folder: Path) -> str:
    """All cuts and the reckoning; what was found, in words. Raises Lost, VirtualFailed."""
    bundle = make_bundle(folder)
    image = Image(
        MACHINES[options.machine], folder / "image", package("headway-agent", "deb12", options.machine, folder)
    )
    with Server(folder, bundle) as server:
        disk = folder / "data.img"
        _data_disk(disk, folder, bundle, server.broker.port)
        chance, promised, following = random.Random(options.seed), set[int](), 1
        words = " nosync" if options.nosync else ""
        for cut in range(1, options.cuts + 1):
            said = _until_cut(Virtual(image, disk, f"next={following} feed=-1{words}"), chance.uniform(0, CUT_S_MAX))
            acked = {int(line.split()[1]) for line in said if line.startswith("ACKED ")}
            promised |= acked
            # the file after the last one may be there or not
            following = max(promised, default=following) + 2
            print(f"{cut:>4}: {len(acked)} files answered, then cut; {len(promised)} promised in all", flush=True)
        last = Virtual(image, disk, f"next={following} feed=1")
        try:
            last.wait_for("SETTLED", BOOT_TIMEOUT_S)
            found: dict[str, Any] = json.loads(last.wait_for("STATUS ", BOOT_TIMEOUT_S))
            _check(found, promised | {following})
        finally:
            last.cut()
        return _settled(image, disk, following + 1, server, found, len(promised))


def _until_cut(machine: Virtual, after_s: float) -> list[str]:
    try:
        machine.wait_for("ACKED", BOOT_TIMEOUT_S)
        for line in machine.lines(after_s):
            if line.startswith("ENDED"):
                raise AgentEnded(f"the agent ended by itself: {' | '.join(machine.said[-5:])}")
    finally:
        machine.cut()
    return machine.said


def _check(found: dict[str, Any], promised: set[int]) -> None:
    """The device's disk against what it had promised."""
    answered = set(found["answered"])
    if found["code"] != 0 or found["sound"] != ["ok"] or found["databases_set_aside"] or found["rejected"]:
        raise Lost(f"the database or the agent's end is not sound: {found}")
    if missing := promised - answered:
        raise Lost(f"files {sorted(missing)} were answered before a cut, and their answers are gone")
    if found["labels"] != WINDOWS * len(answered):
        raise Lost(f"{found['labels']} labels are counted of {WINDOWS * len(answered)} in {len(answered)} files")


def _settled(image: Image, disk: Path, number: int, server: Server, found: dict[str, Any], promised: int) -> str:
    """The server must come to the same number, by a boot whose clock has no battery and starts in 1970."""
    labels = int(found["labels"]) + WINDOWS
    machine = Virtual(image, disk, f"next={number} feed=1 hold", "-rtc", "base=1970-01-01T00:01:00")
    try:
        if (clock_s := int(machine.wait_for("CLOCK ", BOOT_TIMEOUT_S))) > 86_400:
            raise VirtualFailed(f"the clock should say 1970, and says {clock_s} s")
        machine.wait_for("SETTLED", BOOT_TIMEOUT_S)
        deadline = time.monotonic() + FILE_TIMEOUT_S
        while server.counted() != labels:
            if time.monotonic() > deadline:
                raise Lost(f"the server has counted {server.counted()} labels, the device {labels}")
            time.sleep(0.1)
    finally:
        machine.cut()
    return (
        f"every one of {promised} answered files is there and counted once: {labels} labels on the device and at the "
        "server; the database is sound"
    )


def _data_disk(disk: Path, folder: Path, bundle: Path, port: int) -> None:
    content = folder / "data"
    (content / "ready").mkdir(parents=True)
    shutil.copy(bundle, content / "model.hwb")
    (content / "agent.toml").write_text(AGENT_TOML.format(port=port))
    x, y = data(READY_FILES * WINDOWS, seed=11)
    y = y % len(CLASSES)
    for number in range(READY_FILES):
        rows = slice(number * WINDOWS, (number + 1) * WINDOWS)
        np.savez(content / "ready" / f"{number:06}.npz", x=x[rows], y=y[rows])
    make_disk(disk, 192, content)


if __name__ == "__main__":
    sys.exit(main())
