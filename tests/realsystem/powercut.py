"""Power cuts to a whole machine: python -m tests.realsystem.powercut [amd64|arm64] [--cuts 30] [--minutes M].

An agent of our own package learns in a virtual machine (QEMU, software emulation) from labelled files, and syncs with a
broker and an aggregator outside. At random moments QEMU is killed, which takes with it all that the guest had not
written to its disk. After each cut every file that was answered must still be held; in the end every one must be
counted, none twice, the database must be sound, and the server must have counted the same labels. The seed is printed;
it fixes moments and data.

The last line is the verdict: KEPT, BROKEN, or NO VERDICT with the reason. A run that was ended goes on from its last
cut when the same command is given again; its folder is build/powercut/MACHINE. --minutes bounds the cuts, not the
reckoning, which takes two more starts of the machine.

--nosync --must-fail: the agent's fsync does nothing. Then labels must be found lost, or the run would prove nothing.
"""

from __future__ import annotations

import argparse
import math
import random
import shutil
import signal
import sys
import time
from pathlib import Path

import numpy as np

from testbed.broker import free_port
from testbed.debian import DebianFailed
from testbed.debian import why_not as no_debian
from testbed.virtual import MACHINES, AgentEnded, Image, Virtual, VirtualFailed, make_disk, why_not
from tests.architecture.rules import ROOT
from tests.realsystem.packages import package
from tests.realsystem.power_run import Progress, Server
from tests.realsystem.reckoning import OnDisk, broken, numbers
from tests.system.conftest import make_bundle
from tests.system.make_model import CLASSES, data

FOLDER = ROOT / "build" / "powercut"
WINDOWS = 4
# the guest gives up earlier, and says why (testbed.guest)
BOOT_TIMEOUT_S, REPORT_TIMEOUT_S, COUNT_TIMEOUT_S = 1800.0, 2400.0, 1500.0
# moments of a cut, in seconds after the first file of a boot was answered
CUT_S_MAX = 6.0
READY_FILES = 4000
KEPT, BROKEN, NO_VERDICT = 0, 1, 3
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
    """Something that was promised is not there, or is there twice. about: as `reckoning.broken` calls it."""

    def __init__(self, promises: dict[str, str]) -> None:
        super().__init__("; ".join(promises.values()))
        self.about = set(promises)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.realsystem.powercut", description=__doc__.splitlines()[0])
    parser.add_argument("machine", choices=tuple(MACHINES), nargs="?", default="amd64")
    parser.add_argument("--cuts", type=int, default=30)
    parser.add_argument("--minutes", type=float, default=math.inf, help="then no further cut, but the reckoning")
    parser.add_argument("--seed", type=int, help="a new run with this seed; an earlier one is thrown away")
    parser.add_argument("--nosync", action="store_true")
    parser.add_argument("--must-fail", action="store_true", help="exit 0 only if labels are found lost")
    options = parser.parse_args()
    missing = no_debian() or why_not(MACHINES[options.machine])
    if missing:
        print(f"skipped: {missing}")
        return 0
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = FOLDER / f"{options.machine}{'-nosync' if options.nosync else ''}"
    if options.seed is not None:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    code, verdict = judged(options, folder)
    print(verdict, flush=True)
    return code


def judged(options: argparse.Namespace, folder: Path) -> tuple[int, str]:
    """The run's exit code and its last line."""
    run = None
    began_s = time.monotonic()
    try:
        run = Run(options, folder)
        kept = run.to_the_end(began_s)
    except (Lost, AgentEnded) as failure:
        proved = options.must_fail and (isinstance(failure, AgentEnded) or failure.about & {"labels", "database"})
        kind = "BROKEN, as it must be" if proved else "BROKEN"
        code, found = (KEPT if proved else BROKEN), f"{failure}; its disk and its last words stay in {folder}"
    except (VirtualFailed, DebianFailed, RuntimeError) as failure:
        kind, code, found = "NO VERDICT", NO_VERDICT, f"{failure}; the same command goes on"
    except KeyboardInterrupt:
        kind, code, found = "NO VERDICT", NO_VERDICT, "ended from outside; the same command goes on"
    else:
        kind, code, found = "KEPT", (BROKEN if options.must_fail else KEPT), kept
    if code == KEPT and run is not None and run.progress.cuts >= options.cuts:
        shutil.rmtree(folder)
    done = f"{run.progress.cuts} cuts of {options.cuts}, seed {run.progress.seed}" if run else "not begun"
    mode = " without fsync" if options.nosync else ""
    return code, f"{kind}: {options.machine}{mode}, {done}, {time.monotonic() - began_s:.0f} s: {found}"


class Run:
    """One machine's cuts, in a folder that holds everything of it."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        """Begins a run, or opens the one in the folder."""
        self.options, self.folder, self.disk = options, folder, folder / "data.img"
        self.bundle = folder / "tiny.hwb"
        earlier = Progress.opened(folder)
        if earlier is None:
            seed = random.SystemRandom().randrange(1 << 32) if options.seed is None else options.seed
            make_bundle(folder)
            port = free_port()
            _data_disk(self.disk, folder, self.bundle, port)
        deb = package("headway-agent", "deb12", options.machine, folder) if not self._has_image() else Path()
        self.image = Image(MACHINES[options.machine], folder / "image", deb)
        self.progress = earlier or Progress.begun(folder, seed, port)
        how = f"goes on after {earlier.cuts} cuts" if earlier else f"{deb.name}"
        print(f"{options.machine}, seed {self.progress.seed}, {options.cuts} cuts: {how}", flush=True)

    def to_the_end(self, began_s: float) -> str:
        """The cuts that are left, and the reckoning; what was found, in words. Raises Lost, VirtualFailed."""
        with Server(self.folder, self.bundle, self.progress.port) as server:
            while self.progress.cuts < self.options.cuts:
                if time.monotonic() - began_s > self.options.minutes * 60:
                    break
                if said := server.why_ended():
                    raise VirtualFailed(f"the server has ended: {said}")
                self._one_cut()
            return self._reckoned(server)

    def _one_cut(self) -> None:
        number = self.progress.cuts + 1
        after_s = random.Random(f"{self.progress.seed}/{number}").uniform(0, CUT_S_MAX)
        machine = self._start("feed=-1 nosync" if self.options.nosync else "feed=-1")
        try:
            held = numbers(machine.wait_for("HELD", BOOT_TIMEOUT_S))
            machine.wait_for("ACKED", BOOT_TIMEOUT_S)
            for line in machine.lines(after_s):
                machine.check(line)
        finally:
            self._cut(machine, f"cut-{number:03}")
        acked = {int(line.split()[1]) for line in machine.said if line.startswith("ACKED ")}
        gone = self.progress.promised - held
        self.progress.note_cut(acked)
        lost = f"; {len(gone)} promised before are gone" if gone else ""
        print(f"{number:>4}: {len(acked)} files answered in {after_s:.1f} s, then cut; {len(self.progress.promised)} "
              f"promised in all{lost}", flush=True)  # fmt: skip
        if gone and not self.options.nosync:
            raise Lost({"answers": f"{sorted(gone)[:20]} were answered before cut {number - 1}, and are gone"})

    def _reckoned(self, server: Server) -> str:
        """What the disk and the server hold, each after a start of its own."""
        machine = self._start("feed=1")
        try:
            machine.wait_for("HELD", BOOT_TIMEOUT_S)
            self.progress.note({int(machine.wait_for("ACKED", BOOT_TIMEOUT_S))})
            machine.wait_for("SETTLED", BOOT_TIMEOUT_S)
            found = OnDisk.parse(machine.wait_for("STATUS", REPORT_TIMEOUT_S))
        finally:
            self._cut(machine, "reckoning")
        if lost := broken(found, self.progress.promised, WINDOWS):
            raise Lost(lost)
        self._server_agrees(server, found.labels + WINDOWS)
        return (
            f"every one of {len(self.progress.promised)} answered files is there and counted once: "
            f"{found.labels + WINDOWS} labels on the device and at the server; the database is sound"
        )

    def _server_agrees(self, server: Server, labels: int) -> None:
        """By a start whose clock has no battery and begins in 1970, with one more file."""
        machine = self._start("feed=1 hold", "-rtc", "base=1970-01-01T00:01:00")
        try:
            if (clock_s := int(machine.wait_for("CLOCK", BOOT_TIMEOUT_S))) > 86_400:
                raise VirtualFailed(f"the clock should say 1970, and says {clock_s} s")
            self.progress.note({int(machine.wait_for("ACKED", BOOT_TIMEOUT_S))})
            machine.wait_for("SETTLED", BOOT_TIMEOUT_S)
            deadline = time.monotonic() + COUNT_TIMEOUT_S
            while (counted := server.counted()) != labels:
                if time.monotonic() > deadline:
                    raise Lost({"server": f"the server has counted {counted} labels, the device {labels}"})
                time.sleep(0.1)
        finally:
            self._cut(machine, "in-1970")

    def _start(self, words: str, *options: str) -> Virtual:
        return Virtual(self.image, self.disk, f"next={self.progress.following} {words}", *options)

    def _cut(self, machine: Virtual, name: str) -> None:
        machine.cut()
        (self.folder / f"{name}.log").write_text("\n".join(machine.said) + "\n")

    def _has_image(self) -> bool:
        return (self.folder / "image" / "system.img").exists()


def _data_disk(disk: Path, folder: Path, bundle: Path, port: int) -> None:
    content = folder / "data"
    shutil.rmtree(content, ignore_errors=True)
    (content / "ready").mkdir(parents=True)
    shutil.copy(bundle, content / "model.hwb")
    (content / "agent.toml").write_text(AGENT_TOML.format(port=port))
    x, y = data(READY_FILES * WINDOWS, seed=11)
    y = y % len(CLASSES)
    for number in range(READY_FILES):
        rows = slice(number * WINDOWS, (number + 1) * WINDOWS)
        np.savez(content / "ready" / f"{number:06}.npz", x=x[rows], y=y[rows])
    disk.unlink(missing_ok=True)
    make_disk(disk, 192, content)


if __name__ == "__main__":
    sys.exit(main())
