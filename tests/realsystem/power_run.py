"""What a run of power cuts keeps in its folder, so that it can be ended at any moment and go on later."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Set
from pathlib import Path

from aggregator.store.location import sqlite_url
from aggregator.store.sql import SqlStore
from headway.durable import write_durably
from headway.wire.messages import PublishedHead
from testbed.broker import Broker, die_with_parent
from tests.system.conftest import BIN

STOP_TIMEOUT_S = 30.0


class Progress:
    """The cuts so far and the numbers of the files that were answered. seed: of the moments; port: of the broker."""

    def __init__(self, folder: Path, seed: int, port: int, cuts: int, promised: Set[int]) -> None:
        self._file = folder / "progress.json"
        self.seed, self.port, self.cuts, self.promised = seed, port, cuts, set(promised)

    @classmethod
    def begun(cls, folder: Path, seed: int, port: int) -> Progress:
        made = cls(folder, seed, port, 0, set())
        made._save()
        return made

    @classmethod
    def opened(cls, folder: Path) -> Progress | None:
        """None where no run was begun."""
        try:
            found = json.loads((folder / "progress.json").read_text())
        except FileNotFoundError:
            return None
        return cls(folder, found["seed"], found["port"], found["cuts"], set(found["promised"]))

    @property
    def following(self) -> int:
        """The next file's number: the one after the last answered one may be on the disk or not."""
        return max(self.promised, default=-1) + 2

    def note_cut(self, acked: Set[int]) -> None:
        self.cuts += 1
        self.note(acked)

    def note(self, acked: Set[int]) -> None:
        self.promised |= acked
        self._save()

    def _save(self) -> None:
        said = {"seed": self.seed, "port": self.port, "cuts": self.cuts, "promised": sorted(self.promised)}
        write_durably(self._file, json.dumps(said).encode())


class Server:
    """Broker and aggregator on this machine; the guest reaches them at 10.0.2.2."""

    def __init__(self, folder: Path, bundle: Path, port: int) -> None:
        self.folder, self.bundle, self.broker = folder, bundle, Broker(port=port)

    def __enter__(self) -> Server:
        self.broker.__enter__()
        command = [str(BIN / "edge-fleet"), "serve", "--host", self.broker.host, "--port", str(self.broker.port)]
        command += ["--fleet", "cut", "--publish-interval", "1", "--bundle", str(self.bundle)]
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--state-dir", str(self.folder / "aggregator")],
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent,
            )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self.broker.__exit__()

    def why_ended(self) -> str:
        """What the server said last, if it has ended; '' while it runs."""
        if self._process.poll() is None:
            return ""
        return " | ".join((self.folder / "server.log").read_text(errors="replace").splitlines()[-3:])

    def counted(self) -> int:
        """Labels in the fleet's head."""
        if not (self.folder / "aggregator" / "aggregator.sqlite").exists():
            return 0
        store = SqlStore(sqlite_url(self.folder / "aggregator"))
        with store.transaction():
            row = store.head()
        store.close()
        return 0 if row is None else PublishedHead.decode(row.payload).samples
