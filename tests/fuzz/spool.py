"""Files in a spool folder as targets: their bytes, the arrays in them, and their names and kinds."""

from __future__ import annotations

import atexit
import io
import os
import shutil
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from edge_agent.config import SensorSettings
from edge_agent.sensors import Claimed, Spool
from headway.errors import DataError
from headway.maths import Task
from headway.npz import Archive
from headway.printable import is_printable
from headway.samples import read_samples

CLASSES = ("idle", "walk", "run")
TASKS = tuple(Task)
KINDS = 6


class SpoolFolder:
    """One folder that every input passes through. Nothing may stay claimed, whatever it was."""

    def __init__(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="fuzz-spool-"))
        atexit.register(shutil.rmtree, self.root, ignore_errors=True)
        self._settings = SensorSettings(
            self.root / "spool",
            self.root / "predictions",
            settle_s=0.0,
            rejected_files_max=20,
            predictions_files_max=20,
        )
        self._spool = Spool(self._settings)
        self._sequence = 0

    def read(self, payload: bytes) -> None:
        """The bytes of a file, with its windows held in memory and left in the file, for each task."""
        path = self.root / "a.npz"
        path.write_bytes(payload)
        for task in TASKS[len(payload) % len(TASKS) :][:1]:
            for held_bytes_max in (1 << 20, 0):
                archive = Archive.open(path, 1 << 20)
                with read_samples(
                    archive, CLASSES, new_classes=True, label_files=True, task=task, labels_bytes_max=1 << 16,
                    held_bytes_max=held_bytes_max, label_map={"go": "walk"},
                ) as samples:  # fmt: skip
                    for start in range(0, len(samples) if samples.has_windows else 0, 3):
                        samples.windows(start, start + 3)
                    for text in (*(samples.ids or ()), *samples.names, *samples.unread):
                        str(DataError(text)).encode()

    def take(self, payload: bytes) -> None:
        """The first byte is a kind, the others a name: in at one end, answered or refused at the other."""
        kind, name = payload[:1], payload[1:].replace(b"/", b"_").replace(b"\0", b"_")[:255] or b"a"
        if name in (b".", b".."):
            name = b"a"
        at = os.fsencode(self.root / "spool") + b"/" + name
        if os.path.lexists(at):
            return
        put(at, kind[0] % KINDS if kind else 0)
        reason = ""
        for file in list(self._spool.claim(self._sequence + 1)):
            self._sequence = file.sequence
            reason = self._take_in(file) or reason
        self._spool.recover(self._sequence)
        self._spool.prune_answers()
        for event, problem in self._spool.take_notices():
            if not is_printable(problem):
                raise ValueError(f"{event} is not printable")
        left = os.listdir(self.root / "spool" / "claimed")
        if left:
            raise ValueError(f"{left} stayed")
        if os.path.isdir(at) and not os.path.islink(at) and name not in (b"claimed", b"rejected"):
            os.rmdir(at)
        elif os.path.lexists(at) and name.startswith(b"."):
            os.unlink(at)
        if reason:
            raise DataError(reason)

    def _take_in(self, file: Claimed) -> str:
        try:
            with self._spool.read(file, CLASSES, new_classes=False) as samples:
                samples.windows(0, 1)
            self._spool.answer([(file, b"answer")])
            self._spool.release(file)
        except DataError as error:
            self._spool.reject(file, str(error))
            return str(error)
        return ""


def put(path: bytes, kind: int) -> None:
    """Something of this kind."""
    if kind == 1:
        os.symlink(b"/dev/zero", path)
    elif kind == 2:
        os.mkfifo(path)
    elif kind == 3 and os.path.basename(path) not in (b"claimed", b"rejected"):
        os.mkdir(path)
    else:
        with open(path, "wb") as file:
            file.write(good() if kind else b"PK half of a file")


def good(**more: np.ndarray) -> bytes:
    """A file of windows."""
    stream = io.BytesIO()
    np.savez(stream, x=np.ones((4, 3, 2), np.float32), **more)  # type: ignore[arg-type]
    return stream.getvalue()


def seeds() -> tuple[bytes, ...]:
    """Files of every sort."""
    x, ids = np.random.default_rng(0).normal(size=(4, 5, 2)).astype("<f4"), np.array(["a", "b", "c", "d"])
    y, table = np.array(["idle", "go", "", "new"]), np.array([[0, 1, np.nan]] * 4)
    contents: list[dict[str, np.ndarray]] = [
        {"x": x, "y": y, "id": ids}, {"x": x.astype(">f8"), "y": np.arange(4) % 3, "time": ids}, {"x": x, "y": table},
        {"id": np.arange(4), "y": np.array([0, 1, -1, 2])}, {"add_class": ids, "rename_class": ids.reshape(2, 2)},
        {"x": np.asfortranarray(x), "y": np.arange(4) % 3, "classes": np.array(CLASSES)},
    ]  # fmt: skip
    found = []
    for save in (np.savez, np.savez_compressed):
        for arrays in contents:
            stream = io.BytesIO()
            save(stream, **arrays)  # type: ignore[arg-type]
            found.append(stream.getvalue())
    return tuple(found)


def arrays() -> tuple[bytes, ...]:
    """The members of those files, which come to nothing behind a wrong check sum unless they are packed again."""
    found = []
    for content in seeds()[:6]:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            found += [archive.read(name) for name in archive.namelist()]
    return tuple(found)


def packed(member: bytes) -> bytes:
    """A mutated member in a file of sound ones, in one role after the other."""
    role = ("x", "y", "id", "classes", "add_class", "rename_class")[len(member) % 6]
    stream = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(seeds()[0])) as sound,
        zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for name in sound.namelist():
            if name != f"{role}.npy" and not role.endswith("_class"):
                archive.writestr(name, sound.read(name))
        archive.writestr(f"{role}.npy", member)
    return stream.getvalue()


NAMES = (b"\0caf\xe9.npz", b"\1link.npz", b"\2pipe.npz", b"\3folder.npz", b"\4good.npz", b"\x05000000000007-good.npz",
         b"\4claimed", b"\0rejected", b"\4lost+found", b"\4a.npz.reason", b"\4" + b"x" * 240)  # fmt: skip
