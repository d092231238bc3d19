"""Two network namespaces joined by a cable of their own, and faults on that cable. Linux, root, iproute2, nftables.

    server namespace 198.18.0.1 ---- veth ---- 198.18.0.2 device namespace

The addresses (RFC 2544, for tests of networks) exist only inside the namespaces; nothing outside is touched.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator

SERVER, DEVICE = "198.18.0.1", "198.18.0.2"


def why_not() -> str:
    """Why there can be no namespaces here; '' when there can."""
    for tool, package in (("ip", "iproute2"), ("tc", "iproute2"), ("nft", "nftables"), ("nsenter", "util-linux")):
        if shutil.which(tool) is None:
            return f"{tool} is missing; install {package}"
    if os.geteuid() != 0:
        return "network namespaces need root"
    name = f"headway-probe-{uuid.uuid4().hex[:8]}"
    made = _run("ip", "netns", "add", name)
    if made.returncode:
        return f"network namespaces are not allowed here: {made.stderr.strip()[:200]}"
    try:
        filtered = _run("ip", "netns", "exec", name, "nft", "add", "table", "inet", "probe")
        return f"nftables do not work here: {filtered.stderr.strip()[:200]}" if filtered.returncode else ""
    finally:
        _run("ip", "netns", "delete", name)


class Cable:
    """Both namespaces, and what happens between them."""

    def __init__(self) -> None:
        mark = uuid.uuid4().hex[:6]
        self.server, self.device = f"hw-server-{mark}", f"hw-device-{mark}"
        self._ends = (f"hws{mark}", f"hwd{mark}")

    def __enter__(self) -> Cable:
        with contextlib.ExitStack() as undo:
            for name in (self.server, self.device):
                _must("ip", "netns", "add", name)
                undo.callback(_run, "ip", "netns", "delete", name)
            first, second = self._ends
            _must(
                "ip", "link", "add", first, "netns", self.server, "type", "veth", "peer", second, "netns", self.device
            )
            for name, end, address in ((self.server, first, SERVER), (self.device, second, DEVICE)):
                self.inside(name, "ip", "address", "add", f"{address}/30", "dev", end)
                self.inside(name, "ip", "link", "set", end, "up")
                self.inside(name, "ip", "link", "set", "lo", "up")
            self._undo = undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    def command(self, name: str, *command: str) -> list[str]:
        """A command line that runs in a namespace."""
        return ["nsenter", f"--net=/run/netns/{name}", *command]

    def inside(self, name: str, *command: str) -> None:
        """Run a command in a namespace; it must succeed."""
        _must(*self.command(name, *command))

    @contextlib.contextmanager
    def loss(self, percent: int) -> Iterator[None]:
        """Drop that share of the packets, in each direction, at random."""
        with self._dropping(f"numgen random mod 100 < {percent} drop"):
            yield

    @contextlib.contextmanager
    def partition(self) -> Iterator[None]:
        """Nothing gets through, and nobody is told."""
        with self._dropping("drop"):
            yield

    @contextlib.contextmanager
    def rate(self, kbit_per_s: int) -> Iterator[None]:
        """Both directions at that rate, with half a second of queue."""
        shape = ["root", "tbf", "rate", f"{kbit_per_s}kbit", "burst", "4kb", "latency", "500ms"]
        for name, end in zip((self.server, self.device), self._ends, strict=True):
            self.inside(name, "tc", "qdisc", "add", "dev", end, *shape)
        try:
            yield
        finally:
            for name, end in zip((self.server, self.device), self._ends, strict=True):
                self.inside(name, "tc", "qdisc", "delete", "dev", end, "root")

    @contextlib.contextmanager
    def _dropping(self, rule: str) -> Iterator[None]:
        for name, end in zip((self.server, self.device), self._ends, strict=True):
            self.inside(name, "nft", "add", "table", "inet", "fault")
            chain = "{ type filter hook input priority 0 ; }"
            self.inside(name, "nft", f"add chain inet fault input {chain}")
            self.inside(name, "nft", f"add rule inet fault input iifname {end} {rule}")
        try:
            yield
        finally:
            for name in (self.server, self.device):
                self.inside(name, "nft", "delete", "table", "inet", "fault")


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=30)


def _must(*command: str) -> None:
    done = _run(*command)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
