"""A virtual machine by QEMU's software emulation, whose power is cut by a SIGKILL of QEMU. Linux, root.

The system disk is read only: Debian's kernel and packages, unpacked and never run here, with our own package. A second
disk holds what must survive. With `cache=writeback`, what the guest has not synced is still in the guest's memory and
goes with it; what it has synced is in this machine's, and stays.
"""

from __future__ import annotations

import gzip
import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from testbed.broker import die_with_parent
from testbed.debian import Debian

GUEST = [Path(__file__).with_name(name) for name in ("guest.py", "tables.py")]
PACKAGES = ("busybox-static", "python3", "openssl", "ca-certificates", "libstdc++6", "libeatmydata1")
# ext4 asks for crc32c, whoever makes it
MODULES = ("crc32c_generic", "virtio_pci", "virtio_blk", "ext4", "virtio_net")
CONTROL = re.compile(r"\x1b(?:\[[0-9;?=]*[a-zA-Z]|c)")
INIT = """\
#!/bin/busybox sh
bb=/bin/busybox
$bb mount -t devtmpfs dev /dev
$bb mount -t proc proc /proc
$bb mount -t sysfs sys /sys
for module in /modules/*; do $bb insmod $module; done
$bb mount -t ext4 -o ro /dev/vda /system
$bb mount -t ext4 -o commit=300 /dev/vdb /system/data
$bb ifconfig lo up
$bb ifconfig eth0 10.0.2.15 netmask 255.255.255.0 up
for place in dev proc sys; do $bb mount -o move /$place /system/$place; done
$bb mount -t tmpfs tmp /system/tmp
exec $bb switch_root /system /usr/bin/python3 -u /guest.py
"""


@dataclass(frozen=True, slots=True)
class Emulated:
    """One kind of machine. name: Debian's; command: QEMU's; console: what the kernel calls its serial line."""

    name: str
    command: tuple[str, ...]
    console: str


MACHINES = {
    "amd64": Emulated("amd64", ("qemu-system-x86_64", "-machine", "q35", "-cpu", "max"), "ttyS0"),
    "arm64": Emulated("arm64", ("qemu-system-aarch64", "-machine", "virt", "-cpu", "cortex-a72"), "ttyAMA0"),
}


class VirtualFailed(RuntimeError):
    """The machine did not do what was waited for; the message ends with what it said last."""


class AgentEnded(VirtualFailed):
    """The agent in the machine has ended, which nobody asked of it."""


class Bootable(Protocol):
    """What a machine is started from, as files. system: its first disk; writable: or else it is read only."""

    machine: Emulated
    kernel: Path
    initial: Path
    system: Path
    writable: bool


class Image:
    """Kernel, initial disk and system disk of one kind of machine, in a folder."""

    writable = False

    def __init__(self, machine: Emulated, folder: Path, agent: Path) -> None:
        """One that lies complete in the folder is taken as it is."""
        self.machine, self.folder = machine, folder
        self.kernel, self.initial, self.system = folder / "kernel", folder / "initial.gz", folder / "system.img"
        if self.system.exists():
            return
        tree = folder / "tree"
        shutil.rmtree(tree, ignore_errors=True)
        unpack_kernel(machine, tree)
        _run("dpkg", "-x", str(agent), str(tree))
        for program in GUEST:
            shutil.copy(program, tree / program.name)
        for name in ("data", "dev", "proc", "sys", "tmp"):
            (tree / name).mkdir(exist_ok=True)
        if sys.version_info[:2] == (3, 11):
            # bookworm's Python: what is compiled here need not be by the slow emulated processor at each start
            places = [str(tree / "usr/lib/python3.11"), str(tree / "opt")]
            _run(sys.executable, "-m", "compileall", "-q", "-s", str(tree), *places)
        write_kernel(tree, self.kernel, self.initial, INIT)
        for name in ("boot", "lib/modules", "usr/lib/modules"):
            shutil.rmtree(tree / name, ignore_errors=True)
        part = folder / "system.part.img"
        part.unlink(missing_ok=True)
        make_disk(part, 600, tree)
        part.rename(self.system)
        shutil.rmtree(tree)


def unpack_kernel(machine: Emulated, tree: Path, kind: str = "cloud-") -> None:
    """Debian's kernel, and what the machines of these tests run on it, unpacked and never run here.

    kind: "cloud-" knows the hardware of virtual machines alone, "" all.
    """
    Debian("bookworm", (f"linux-image-{kind}{machine.name}", *PACKAGES), machine.name, "extract").unpack(tree)


def write_kernel(tree: Path, kernel: Path, initial: Path, script: str) -> None:
    """The kernel of the tree, and an initial disk whose /init is the script."""
    (found,) = (tree / "boot").glob("vmlinuz-*")
    shutil.copy(found, kernel)
    initial.write_bytes(gzip.compress(b"".join(_initial(tree, found.name.removeprefix("vmlinuz-"), script)), 1))


def make_disk(path: Path, size_mb: int, content: Path | None = None) -> None:
    """A disk of ext4 with what is in the folder `content`."""
    _run("mke2fs", "-q", "-t", "ext4", *(("-d", str(content)) if content else ()), str(path), f"{size_mb}M")


def read_file(disk: Path, name: str) -> bytes:
    """What a machine that is off has left in its second disk's first folder. Raises VirtualFailed."""
    with tempfile.TemporaryDirectory(prefix="headway-disk-") as folder:
        out = Path(folder) / "out"
        _run("debugfs", "-R", f"dump /{name} {out}", str(disk))
        if not out.exists() or not out.stat().st_size:
            raise VirtualFailed(f"{name} is not on the disk {disk}")
        return out.read_bytes()


class Virtual:
    """One run of the machine, from power on to `cut` or its own end."""

    def __init__(self, image: Bootable, disk: Path | None, words: str = "", *options: str) -> None:
        """disk: its second one. words: for the guest, on the kernel's command line. options: further ones of QEMU."""
        machine = image.machine
        command = [*machine.command, "-accel", "tcg", "-m", "512", "-smp", "1", "-nographic", "-no-reboot", *options]
        command += ["-kernel", str(image.kernel), "-initrd", str(image.initial)]
        command += ["-append", f"console={machine.console} quiet panic=-1 {words}"]
        kind = "" if image.writable else ",readonly=on"
        command += ["-drive", f"file={image.system},format=raw,if=virtio{kind}"]
        command += ["-drive", f"file={disk},format=raw,if=virtio,cache=writeback"] if disk else []
        command += ["-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net,romfile="]
        self.said: list[str] = []
        self._news: queue.Queue[str | None] = queue.Queue()
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            preexec_fn=die_with_parent,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def lines(self, timeout_s: float) -> Iterator[str]:
        """What the machine says on its serial line, as it says it, for at most that long or until it has ended."""
        deadline = time.monotonic() + timeout_s
        while (left_s := deadline - time.monotonic()) > 0:
            try:
                line = self._news.get(timeout=left_s)
            except queue.Empty:
                return
            if line is None:
                self._news.put(None)  # for whoever asks again
                return
            yield line

    def wait_for(self, beginning: str, timeout_s: float) -> str:
        """The first line that begins so, without the beginning. Raises AgentEnded, VirtualFailed."""
        began_s = time.monotonic()
        for line in self.lines(timeout_s):
            if line.startswith(beginning):
                return line.removeprefix(beginning).strip()
            self.check(line)
        happened = "the machine ended" if self._process.poll() is not None else "nothing came"
        waited_s = time.monotonic() - began_s
        raise VirtualFailed(
            f"{happened} in {waited_s:.0f} s of waiting for {beginning!r}: {' | '.join(self.said[-12:])}"
        )

    def wait_until_off(self, timeout_s: float) -> None:
        """Until the machine has switched itself off. Raises VirtualFailed."""
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise VirtualFailed(
                f"the machine is not off after {timeout_s:.0f} s: {' | '.join(self.said[-12:])}"
            ) from None

    def check(self, line: str) -> None:
        """Raises AgentEnded, VirtualFailed where the guest says that nothing more will come."""
        if line.startswith("ENDED "):
            raise AgentEnded(f"the agent ended by itself: {' | '.join(self.said[-10:])}")
        if line.startswith("STUCK "):
            raise VirtualFailed(" | ".join(self.said[-10:]))

    def processor_s(self) -> tuple[float, float]:
        """How long its threads have run until now, and how long they waited while others had the processors."""
        times = [path.read_text().split() for path in Path(f"/proc/{self._process.pid}/task").glob("*/schedstat")]
        ran, waited = (sum(int(each[at]) for each in times) / 1e9 for at in (0, 1))
        return ran, waited

    def cut(self) -> None:
        """The power fails. What the guest has said until now is in `said` afterwards."""
        self._process.kill()
        self._process.wait()
        self._reader.join()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            # the firmware clears its screen, and the guest's first line may stand behind that
            said = CONTROL.sub("", line).strip()
            self.said.append(said)
            self._news.put(said)
        self._news.put(None)


def _initial(tree: Path, release: str, script: str) -> Iterator[bytes]:
    """An initial disk (cpio, newc): busybox, the drivers, and a script that mounts both disks."""
    entries: list[tuple[str, int, bytes]] = [(name, 0o040755, b"") for name in ("bin", "modules", "system")]
    entries += [(name, 0o040755, b"") for name in ("dev", "proc", "sys")]
    (busybox,) = [path for path in (tree / "bin/busybox", tree / "usr/bin/busybox") if path.exists()][:1]
    entries += [("bin/busybox", 0o100755, busybox.read_bytes()), ("init", 0o100755, script.encode())]
    for number, module in enumerate(drivers(tree, release, MODULES)):
        entries.append((f"modules/{number:02}-{module.name}", 0o100644, module.read_bytes()))
    entries.append(("TRAILER!!!", 0, b""))
    for number, (name, mode, content) in enumerate(entries, 1):
        coded = name.encode() + b"\0"
        fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(coded), 0)
        head = b"070701" + b"".join(b"%08X" % value for value in fields) + coded
        yield head + b"\0" * (-len(head) % 4) + content + b"\0" * (-len(content) % 4)


def drivers(tree: Path, release: str, names: Sequence[str]) -> list[Path]:
    """Those that are no part of the kernel, each after those that it needs; their files name them."""
    found = {path.stem.replace("-", "_"): path for path in (tree / "lib/modules" / release).rglob("*.ko")}
    ordered: list[Path] = []

    def add(name: str) -> None:
        path = found.get(name)
        if path is None or path in ordered:
            return
        for line in re.findall(rb"(?:depends|softdep)=([^\0]*)", path.read_bytes()):
            for needed in re.split(r"[ ,]+", re.sub(r"(pre|post):", "", line.decode())):
                add(needed.replace("-", "_"))
        ordered.append(path)

    for name in names:
        add(name)
    return ordered


def why_not(machine: Emulated) -> str:
    """The program that is missing here, with the command that brings it; '' when none is."""
    package = "qemu-system-x86" if machine.name == "amd64" else "qemu-system-arm"
    for program, brought in ((machine.command[0], package), ("mke2fs", "e2fsprogs"), ("dpkg", "dpkg")):
        if shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is None:
            return f"{program} is missing: apt-get install {brought}"
    return ""


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise VirtualFailed(f"{command[0]}: {done.stderr.strip()[-300:]}")
