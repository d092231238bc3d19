"""A Debian with its own systemd in a virtual machine, for what namespaces cannot show: limits of memory. Linux, root.

A program of the test's is run by that systemd once everything else is up; what it prints comes over the serial line.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from testbed.booted import CLEAN
from testbed.debian import Debian
from testbed.virtual import Emulated, VirtualFailed, drivers, make_disk, unpack_kernel, write_kernel

DISK_MB = 1200
RUN_TIMEOUT_S = 600.0
INIT = """\
#!/bin/busybox sh
bb=/bin/busybox
$bb mount -t devtmpfs dev /dev
$bb mount -t proc proc /proc
$bb mount -t sysfs sys /sys
for module in /modules/*; do $bb insmod $module; done
$bb mount -t ext4 /dev/vda /system
for place in dev proc sys; do $bb mount -o move /$place /system/$place; done
exec $bb switch_root /system /lib/systemd/systemd
"""
# as a service of its own, so that what it does to others is done from outside of them
PROGRAM_UNIT = """\
[Unit]
After=multi-user.target
[Service]
ExecStart=/usr/bin/python3 -u /program.py
StandardOutput=tty
StandardError=tty
TTYPath=/dev/{console}
[Install]
WantedBy=multi-user.target
"""


class SystemImage:
    """Kernel, initial disk and a disk with the system, in a folder. Change `tree`, then `seal`."""

    writable = True

    def __init__(
        self, machine: Emulated, folder: Path, debian: Debian, program: Path, hardware: Sequence[str] = ()
    ) -> None:
        """program: the Python file that is run in the machine. hardware: drivers to load, names with "_"."""
        self.machine, self.folder, self.tree = machine, folder, folder / "tree"
        self.kernel, self.initial, self.system = folder / "kernel", folder / "initial.gz", folder / "system.img"
        kernel_tree = folder / "kernel-tree"
        unpack_kernel(machine, kernel_tree, "" if hardware else "cloud-")
        write_kernel(kernel_tree, self.kernel, self.initial, INIT)
        debian.unpack(self.tree)
        if hardware:
            self._bring_drivers(kernel_tree, hardware)
        shutil.rmtree(kernel_tree)
        shutil.copy(program, self.tree / "program.py")
        unit = self.tree / "etc" / "systemd" / "system" / "program.service"
        unit.write_text(PROGRAM_UNIT.format(console=machine.console))
        (unit.parent / f"serial-getty@{machine.console}.service").symlink_to("/dev/null")
        self.run("systemctl", "enable", "program.service")

    def run(self, *command: str) -> str:
        """What a command in the tree prints, before the machine is started. Raises VirtualFailed."""
        # a package's scripts look into /proc
        inside = ["unshare", "--mount", "--pid", "--fork", f"--mount-proc={self.tree}/proc", "chroot", str(self.tree)]
        words = [*inside, *CLEAN, *command]
        done = subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=RUN_TIMEOUT_S)
        if done.returncode:
            raise VirtualFailed(f"{' '.join(command)}: {done.stdout}{done.stderr}")
        return done.stdout

    def _bring_drivers(self, kernel_tree: Path, names: Sequence[str]) -> None:
        (modules,) = (kernel_tree / "lib" / "modules").iterdir()
        there = self.tree / "usr" / "lib" / "modules" / modules.name
        listed = [modules / "modules.builtin", modules / "modules.builtin.modinfo", modules / "modules.order"]
        for path in (*listed, *drivers(kernel_tree, modules.name, names)):
            target = there / path.relative_to(modules)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
        self.run("depmod", modules.name)

    def seal(self, size_mb: int = DISK_MB) -> None:
        """Make the disk; the tree is gone afterwards."""
        make_disk(self.system, size_mb, self.tree)
        shutil.rmtree(self.tree)
