"""Reads windows from the spool folder: a program drops ``NAME.npz`` in, the agent answers in ``predictions/NAME.npz``.

A file is claimed by renaming it to ``claimed/SEQUENCE-NAME.npz``. The sequence number is its identity from then on:
the store remembers the highest one whose effects are committed, so a crash at any point neither skips a file nor
learns one twice. Writers must rename complete files into the folder; names starting with a dot are ignored.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterator, Sequence

from edge_agent.config import SensorSettings
from edge_agent.sensors.ports import Claimed
from headway.durable import Content, sync_folder, write_durably
from headway.errors import ConfigError, DataError, StoreError
from headway.maths import Task
from headway.samples import Samples, read_samples

log = logging.getLogger("edge-agent")
CLAIMED, REJECTED = "claimed", "rejected"


class Spool:
    """A `Sensor`: claims files oldest first, and clears them away once their effects are durable."""

    def __init__(self, settings: SensorSettings) -> None:
        self._settings = settings
        self._root = settings.spool_dir
        for folder in (self._root, self._root / CLAIMED, self._root / REJECTED, settings.predictions_dir):
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise ConfigError(f"cannot create {folder}: {error.strerror}; give the agent write access") from error

    def recover(self, consumed: int) -> list[Claimed]:
        """After a start: drop claimed files already committed (sequence <= consumed), return the others in order."""
        waiting = []
        for file in self._claimed():
            if file.sequence <= consumed:
                try:
                    self.release(file)
                except StoreError as error:
                    log.warning("%s; it is learned, and cleared away at another start", error)
            else:
                waiting.append(file)
        return waiting

    def claim(self, next_sequence: int) -> Iterator[Claimed]:
        """Claim what is waiting, in the order of modification time then name, numbering from `next_sequence`."""
        for name in self._waiting():
            path = self._root / CLAIMED / f"{next_sequence:012d}-{name}"
            try:
                os.rename(self._root / name, path)
            except FileNotFoundError:
                continue  # its writer took it back between our look and the rename
            except OSError as error:
                raise StoreError(f"cannot claim {self._root / name}: {error.strerror}") from error
            sync_folder(path.parent)
            sync_folder(self._root)
            yield Claimed(next_sequence, name, path)
            next_sequence += 1

    def read(
        self, file: Claimed, classes: Sequence[str], *, new_classes: bool, task: Task = Task.CLASSIFICATION
    ) -> Samples:
        """The content of a file that is not too large. Raises DataError that names the file as its writer did."""
        size, limit = file.path.stat().st_size, self._settings.file_bytes_max
        if size > limit:
            raise DataError(f"{size} bytes; at most {limit} are accepted (file_bytes_max)")
        inflated_max = self._settings.inflated_bytes_max
        try:
            return read_samples(
                file.path,
                classes,
                inflated_max,
                new_classes=new_classes,
                label_files=True,
                task=task,
                label_map=self._settings.label_map,
            )
        except DataError as error:
            raise DataError(str(error).replace(str(file.path), file.name)) from error

    def answer(self, file: Claimed, payload: Content) -> None:
        """Write the predictions for a file; repeating it replaces the same name with the same content."""
        write_durably(self._settings.predictions_dir / file.name, payload)

    def release(self, file: Claimed) -> None:
        """Forget a file whose effects are committed."""
        try:
            file.path.unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"cannot remove {file.path}: {error.strerror}") from error

    def reject(self, file: Claimed, reason: str) -> None:
        """Put a file that cannot be used into ``rejected/`` beside a one-line reason."""
        target = self._root / REJECTED / file.name
        write_durably(target.with_name(file.name + ".reason"), (reason + "\n").encode())
        try:
            os.replace(file.path, target)
        except OSError as error:
            raise StoreError(f"cannot move {file.path} to {target}: {error.strerror}") from error
        sync_folder(target.parent)

    def prune_answers(self) -> int:
        """Keep the newest `predictions_files_max` answers; returns how many were removed."""
        answers = sorted(self._settings.predictions_dir.glob("*.npz"), key=lambda p: p.stat().st_mtime)
        surplus = answers[: max(0, len(answers) - self._settings.predictions_files_max)]
        for path in surplus:
            path.unlink(missing_ok=True)
        return len(surplus)

    def _waiting(self) -> list[str]:
        found = []
        try:
            with os.scandir(self._root) as entries:
                for entry in entries:
                    if entry.name.startswith(".") or not entry.is_file(follow_symlinks=False):
                        continue
                    found.append((entry.stat(follow_symlinks=False).st_mtime_ns, entry.name))
        except OSError as error:
            if error.errno == errno.ENOENT:
                raise StoreError(f"spool folder {self._root} has vanished; create it again") from error
            raise StoreError(f"cannot read {self._root}: {error.strerror}") from error
        return [name for _, name in sorted(found)]

    def _claimed(self) -> list[Claimed]:
        files = []
        for path in sorted((self._root / CLAIMED).iterdir()):
            number, dash, name = path.name.partition("-")
            if not dash or not number.isdigit():
                raise StoreError(f"{path} was not put there by the agent; move it away")
            files.append(Claimed(int(number), name, path))
        return files
