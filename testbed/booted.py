"""A Debian tree booted with its own systemd as PID 1, in namespaces: its units run as on a machine. Linux, root.

What namespaces cannot show (MemoryMax without cgroups of version 2, a clock of its own, a power cut) is for a virtual
machine: `testbed.virtual`.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
import uuid
from pathlib import Path

from testbed.broker import die_with_parent

BOOT = Path(__file__).with_name("boot-tree.sh")
WAIT_S = 60.0
POLL_S = 0.05
CLEAN = ("env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8")


class BootFailed(RuntimeError):
    """The tree's systemd did not come up, or a command inside failed; the message says what was said."""


class Booted:
    """A booted tree as a context manager; `power_off` and `boot` start it again with what is on its disk."""

    def __init__(self, tree: Path) -> None:
        self.tree = tree
        self._group: Path | None = None
        self._unshare: subprocess.Popen[bytes] | None = None
        self._pid = 0

    def __enter__(self) -> Booted:
        self.boot()
        return self

    def __exit__(self, *_: object) -> None:
        self.power_off()

    def boot(self, *, network: bool = True) -> None:
        """Until systemd answers. network: whether there is even a loopback link."""
        self._group = _own_group()
        command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--uts", "--ipc", "--net", "--cgroup"]
        group, log = self._group, self.tree.with_name(f"{self.tree.name}.boot.log")

        def enter() -> None:
            die_with_parent()
            (group / "cgroup.procs").write_text(str(os.getpid()))

        with log.open("ab") as said:
            self._unshare = subprocess.Popen(
                [*command, str(BOOT), str(self.tree), "up" if network else "down"],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                preexec_fn=enter,
                start_new_session=True,
            )
        deadline = time.monotonic() + WAIT_S
        while not self._is_up():
            if self._unshare.poll() is not None or time.monotonic() > deadline:
                self.power_off()
                raise BootFailed(f"systemd did not come up: {log.read_text(errors='replace')[-500:]}")
            time.sleep(POLL_S)

    def power_off(self) -> None:
        """Every process inside is killed at once."""
        unshare, self._unshare = self._unshare, None
        if unshare is not None:
            if self._pid:
                os.kill(self._pid, signal.SIGKILL)
            else:
                unshare.kill()
            unshare.wait()
        self._pid = 0
        if self._group is not None:
            _remove_group(self._group)
            self._group = None

    def run(self, *command: str, code: int | None = 0, timeout_s: float = 180.0) -> str:
        """What a command inside prints; raises BootFailed if it ends otherwise than with `code` (None: any)."""
        words = ["nsenter", "-t", str(self._pid), "-m", "-p", "-n", "-u", "-i", "-C", "-r", "-w", *CLEAN, *command]
        done = subprocess.run(words, capture_output=True, text=True, timeout=timeout_s, stdin=subprocess.DEVNULL)
        if code is not None and done.returncode != code:
            raise BootFailed(f"{' '.join(command)} ended with {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    def show(self, unit: str, name: str) -> str:
        """One property of a unit."""
        return self.run("systemctl", "show", "--value", "--property", name, unit).strip()

    def host_pid(self, pid: int) -> int:
        """Outside, the number of a process that is `pid` inside."""
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                words = re.findall(r"^NSpid:(.*)$", (folder / "status").read_text(), flags=re.MULTILINE)
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has just ended
            numbers = words[0].split() if words else []
            if len(numbers) > 1 and numbers[-1] == str(pid) and self._is_mine(folder):
                return int(folder.name)
        raise BootFailed(f"no process {pid} inside")

    def _is_mine(self, folder: Path) -> bool:
        return os.readlink(folder / "ns" / "pid") == os.readlink(f"/proc/{self._pid}/ns/pid")

    def signal(self, unit: str, number: signal.Signals) -> None:
        """Send a signal to the main process of a unit."""
        self.run("systemctl", "kill", "--kill-whom=main", f"--signal={number.name}", unit)

    def journal(self, unit: str) -> str:
        """What a unit has said since this boot."""
        return self.run("journalctl", "--no-pager", "--output=cat", "--unit", unit)

    def _is_up(self) -> bool:
        if not self._pid and self._unshare is not None:
            children = Path(f"/proc/{self._unshare.pid}/task/{self._unshare.pid}/children").read_text().split()
            if not children or Path(f"/proc/{children[0]}/comm").read_text() != "systemd\n":
                return False
            self._pid = int(children[0])
        said = self.run("systemctl", "is-system-running", code=None)
        return said.split()[:1] in (["running"], ["degraded"])


def _own_group() -> Path:
    """A control group of version 2 for the tree; its systemd makes groups below it."""
    mounts = [line.split()[:3] for line in Path("/proc/mounts").read_text().splitlines()]
    roots = [Path(where) for _, where, kind in mounts if kind == "cgroup2"]
    if not roots:
        raise BootFailed("no control groups of version 2 are mounted: mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified")
    group = roots[0] / f"headway-{uuid.uuid4().hex[:8]}"
    group.mkdir()
    return group


def _remove_group(group: Path) -> None:
    deadline = time.monotonic() + WAIT_S
    for folder in sorted(group.rglob("*"), reverse=True):
        if folder.is_dir():
            _remove_when_empty(folder, deadline)
    _remove_when_empty(group, deadline)


def _remove_when_empty(group: Path, deadline: float) -> None:
    """The kernel takes a moment to see its processes gone."""
    while True:
        try:
            group.rmdir()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(POLL_S)
