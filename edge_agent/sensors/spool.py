"""Reads windows from the spool folder: a program drops ``NAME.npz`` in, the agent answers in ``predictions/NAME.npz``.
Other formats (sensors/formats) are answered under their whole name, as ``predictions/NAME.wav.npz``.

A file is claimed by renaming it to ``claimed/SEQUENCE-NAME.npz``. The sequence number is its identity from then on:
the store remembers the highest one whose effects are committed, so a crash at any point neither skips a file nor
learns one twice. Writers should rename complete files into the folder; names starting with a dot are ignored.

Whatever lies in these folders, of any name, kind or content, and whoever moves it meanwhile: it is read, or it is set
aside with a reason, or it is named in a notice and passed over. Only a disk that refuses is a StoreError.
"""

from __future__ import annotations

import errno
import io
import logging
import os
import re
import stat
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

from edge_agent.config import CLAIMED, REJECTED, SensorSettings
from edge_agent.sensors.formats import ENDINGS, FormatReader, WindowFormat
from edge_agent.sensors.kept_files import KeptFiles
from edge_agent.sensors.ports import Claimed
from edge_agent.sensors.waiting import Inbox
from headway.durable import NAME_ERRNOS, Content, refused_by_disk, sync_folder, write_durably
from headway.errors import ConfigError, DataError, StoreError, listed
from headway.maths import Task
from headway.npz import open_file
from headway.ports import Clock, SystemClock
from headway.printable import printable
from headway.samples import Samples

log = logging.getLogger("edge-agent")
REASON = ".reason"
CLAIMED_NAME = re.compile(r"(\d{12,15})-(.+)", re.ASCII | re.DOTALL)
# with what is put before and behind it, a name must fit into 255 bytes
NAME_BYTES_MAX = 200
# windows that take less are held in memory; others are read from the file when they are needed
HELD_BYTES_MAX = 8 << 20
# how far behind its files a restored database may be
SEQUENCES_AHEAD_MAX = 1 << 32
NAMED_MAX = 1_000
# moved with one sync of the folders
CLAIMED_TOGETHER = 32
LOST_AND_FOUND = "lost+found"
KINDS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}
GONE_ERRNOS = frozenset({errno.ENOENT, errno.ENOTDIR})
OUR_ERRNOS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})


class Spool:
    """A `Sensor`: claims files oldest first, and clears them away once their effects are durable.

    taken: what windows the bundle takes; without it only .npz is read.
    """

    def __init__(self, settings: SensorSettings, clock: Clock | None = None, taken: WindowFormat | None = None) -> None:
        self._settings = settings
        self._root, self._answers = settings.spool_dir, settings.predictions_dir
        self._claimed_dir, self._rejected_dir = self._root / CLAIMED, self._root / REJECTED
        clock = clock or SystemClock()
        self._inbox, self._reader = Inbox(self._root, settings.settle_s, clock), FormatReader(taken, clock)
        self._kept_answers = KeptFiles(self._answers, settings.predictions_files_max)
        limits = settings.rejected_files_max, settings.rejected_bytes_max
        self._kept_rejected = KeptFiles(self._rejected_dir, *limits, beside=REASON)
        self._notices: list[tuple[str, str]] = []
        self._named: set[str] = set()
        self._ahead: deque[Claimed] = deque()
        if self._answers in (self._root, self._claimed_dir, self._rejected_dir):
            raise ConfigError(f"predictions_dir {self._answers} is one of the spool's own folders; give another one")
        try:
            self._make_folders()
            self._make_folder(self._answers)
        except StoreError as error:
            raise ConfigError(f"{error} (spool_dir, predictions_dir)") from error
        self._notices.clear()

    @property
    def unsettled(self) -> int:
        """Files that are not taken yet, because they may still be written."""
        return self._inbox.unsettled

    @property
    def claimed_ahead(self) -> int:
        """Files that have their numbers and are given by the next steps of `claim`."""
        return len(self._ahead)

    def recover(self, consumed: int) -> list[Claimed]:
        """After a start: drop claimed files already committed (sequence <= consumed), return the others in order."""
        self._make_folders()
        waiting: dict[int, Claimed] = {}
        for changed_ns, name in self._in_claimed():
            match, path = CLAIMED_NAME.fullmatch(name), self._claimed_dir / name
            sequence = int(match[1]) if match else 0
            if match and sequence <= consumed:
                self._release_late(Claimed(sequence, printable(match[2]), path))
            elif match and sequence <= consumed + SEQUENCES_AHEAD_MAX and sequence not in waiting:
                waiting[sequence] = Claimed(sequence, printable(match[2]), path)
            else:
                stranger = Claimed(changed_ns, printable(name), path)
                self._set_aside_stranger(stranger)
        return [waiting[sequence] for sequence in sorted(waiting)]

    def claim(self, next_sequence: int) -> Iterator[Claimed]:
        """Claim what is waiting, in the order of modification time then name, numbering from `next_sequence`.

        Some are claimed ahead, so that the folders are written once for several files.
        """
        if self._ahead:
            next_sequence = max(next_sequence, self._ahead[-1].sequence + 1)
            yield from self._synced()
        self._make_folders()
        for waiting in self._inbox.ready():
            name = waiting.name
            while os.path.lexists(path := self._claimed_dir / f"{next_sequence:012d}-{_cut(name)}"):
                next_sequence += 1
            if self._move(self._root / name, path):
                self._ahead.append(Claimed(next_sequence, printable(name), path, waiting.changed_ns / 1e9))
                next_sequence += 1
            if len(self._ahead) == CLAIMED_TOGETHER:
                yield from self._synced()
        yield from self._synced()
        self._name_folders()

    def read(
        self, file: Claimed, classes: Sequence[str], *, new_classes: bool, task: Task = Task.CLASSIFICATION
    ) -> Samples:
        """The content of a file. Raises DataError that names the file as its writer did, MoreTime."""
        settings = self._settings
        opened = self._open(file)
        size = os.fstat(opened.fileno()).st_size
        samples = self._reader.read(
            opened,
            file.name,
            classes,
            inflated_bytes_max=settings.inflated_bytes_max,
            new_classes=new_classes,
            label_files=True,
            task=task,
            label_map=settings.label_map,
            labels_bytes_max=settings.labels_bytes_max,
            held_bytes_max=HELD_BYTES_MAX if size <= settings.file_bytes_max else 0,
        )
        answer = self._answers / _answer_name(file)
        if samples.has_windows and answer.is_dir() and not answer.is_symlink():
            samples.close()
            raise DataError(f"its answer would replace the folder {answer}; move that away")
        if samples.unread:
            arrays = listed(samples.unread)
            problem = f"{file.name} also holds {arrays}, which mean nothing here: x, y and id are read"
            self._name("input-ignored", problem, f"arrays {arrays}")
        return samples

    def answer(self, answers: Sequence[tuple[Claimed, Content]]) -> None:
        """Write the predictions for each file; repeating it replaces the same names with the same content."""
        self._make_folder(self._answers)
        for file, payload in answers:
            self._write_answer(self._answers / _answer_name(file), payload)
        self._sync(self._answers)

    def _write_answer(self, path: Path, payload: Content) -> None:
        """Durable once the folder is."""
        is_new = not os.path.lexists(path)
        try:
            write_durably(path, payload, folder_later=True)
        except StoreError as error:
            if not isinstance(error.__cause__, OSError) or error.__cause__.errno not in NAME_ERRNOS - GONE_ERRNOS:
                raise
            self._name("answer-lost", str(error), str(path))  # other files are answered as well as ever
        else:
            self._kept_answers.add(path.name, 0, is_new=is_new)

    def release(self, file: Claimed) -> None:
        """Forget a file whose effects are committed."""
        try:
            with refused_by_disk(f"cannot remove {file.path}", by_name=True):
                file.path.unlink(missing_ok=True)
        except OSError as error:
            problem = f"cannot remove {file.path}, which is learned: {error.strerror}; remove it by hand"
            self._name("input-ignored", problem, str(file.path))

    def reject(self, file: Claimed, reason: str) -> None:
        """Put a file that cannot be used into ``rejected/`` beside a one-line reason.

        One that is longer than ``rejected_bytes_max`` is not kept, only the reason.
        """
        self._make_folder(self._rejected_dir)
        name, size_bytes = self._free_name(file), 0
        try:
            status = file.path.lstat()
            size_bytes = status.st_size if stat.S_ISREG(status.st_mode) else 0
        except OSError as error:
            reason += f"; it is not kept: {error.strerror}"
        if size_bytes > self._settings.rejected_bytes_max:
            reason += f"; it is not kept: {size_bytes} bytes are more than rejected_bytes_max"
        write_durably(self._rejected_dir / (name + REASON), (printable(reason) + "\n").encode())
        if size_bytes > self._settings.rejected_bytes_max:
            self.release(file)
            size_bytes = 0
        elif os.path.lexists(file.path):
            self._move(file.path, self._rejected_dir / name)
        self._sync(self._rejected_dir)
        self._sync(self._claimed_dir)
        kept = os.path.lexists(self._rejected_dir / name)
        self._kept_rejected.add(name if kept else name + REASON, size_bytes)
        self._kept_rejected.prune()

    def prune_answers(self) -> int:
        """Keep the newest `predictions_files_max` answers; returns how many were removed."""
        return self._kept_answers.prune()

    def take_notices(self) -> list[tuple[str, str]]:
        """What people should know since the last call: an event's name, and a line in words."""
        notices, self._notices = self._notices, []
        return notices

    def _open(self, file: Claimed) -> io.FileIO:
        """Raises DataError when it is no file that may be read, StoreError when we have too little of something."""
        try:
            kind = stat.S_IFMT(file.path.lstat().st_mode)
            if kind != stat.S_IFREG:
                raise DataError(f"{file.name} is {KINDS.get(kind, 'no file')}; put the file itself into the spool")
            if len(os.fsencode(_own_name(file))) > NAME_BYTES_MAX:
                raise DataError(f"its name is longer than {NAME_BYTES_MAX} bytes; give it a shorter one")
            return open_file(file.path, links=False)
        except OSError as error:
            if error.errno in OUR_ERRNOS:
                raise StoreError(f"cannot read {file.path}: {error.strerror}") from error
            raise DataError(f"cannot read {file.name}: {error.strerror or error}") from error

    def _synced(self) -> Iterator[Claimed]:
        """Files that are claimed for good. Until both folders are written they may be where they were after a power
        cut. Those that nobody asks for any more are the first of the next look."""
        if self._ahead:
            self._sync(self._claimed_dir)
            self._sync(self._root)
        while self._ahead:
            yield self._ahead.popleft()

    def _sync(self, folder: Path) -> None:
        with refused_by_disk(f"cannot write {folder}"):
            sync_folder(folder)

    def _move(self, path: Path, target: Path) -> bool:
        """Whether it was moved; if not, it is gone, or named and left where it is."""
        try:
            with refused_by_disk(f"cannot move {path} to {target}", by_name=True):
                os.rename(path, target)
        except FileNotFoundError:
            return False  # somebody took it back; or the folder is gone, and is made again before the next look
        except OSError as error:
            problem = f"cannot move {path} to {target}: {error.strerror}; move it away by hand"
            self._name("input-ignored", problem, str(path))
            return False
        return True

    def _in_claimed(self) -> list[tuple[int, str]]:
        """Names in ``claimed/``, the longest there first: of two with one number the older one is ours."""
        found = []
        with refused_by_disk(f"cannot read {self._claimed_dir}"), os.scandir(self._claimed_dir) as entries:
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode):
                    problem = f"{self._claimed_dir / entry.name} was not put there by the agent; move it away"
                    self._name("input-ignored", problem, entry.path)
                else:
                    found.append((status.st_ctime_ns, entry.name))
        return sorted(found)

    def _release_late(self, file: Claimed) -> None:
        try:
            self.release(file)
        except StoreError as error:
            log.warning("%s; it is learned, and cleared away at another start", error)

    def _set_aside_stranger(self, file: Claimed) -> None:
        problem = "it was not put into claimed/ by the agent; put files into the spool folder"
        try:
            self.reject(file, problem)
        except StoreError as error:
            problem = str(error)
        self._name("input-rejected", f"{file.name}: {problem}", str(file.path))

    def _free_name(self, file: Claimed) -> str:
        """In ``rejected/``. A name that is taken gets the file's number."""
        name, folder = _own_name(file), self._rejected_dir
        taken = os.path.lexists(folder / name) or os.path.lexists(folder / (name + REASON))
        return f"{name}.{file.sequence}" if taken else name

    def _make_folders(self) -> None:
        for folder in (self._root, self._claimed_dir, self._rejected_dir):
            self._make_folder(folder)

    def _make_folder(self, folder: Path) -> None:
        """Make it, or again where somebody has removed it, which is said."""
        if folder.is_dir():
            return
        with refused_by_disk(f"cannot create {folder}"):
            if folder.parent == self._root and os.path.lexists(folder):
                # a file that somebody called like one of our folders: it is taken in under another name
                os.rename(folder, folder.with_name(f"{folder.name}.file"))
            folder.mkdir(parents=True, exist_ok=True)
            sync_folder(folder.parent)
        self._notices.append(("input-ignored", f"folder {folder} was gone and is made again, empty"))

    def _name_folders(self) -> None:
        ours = {CLAIMED, REJECTED, LOST_AND_FOUND}
        for name in sorted(self._inbox.folders - ours):
            path = self._root / name
            if path != self._answers and path not in self._answers.parents:
                problem = f"{path} is a folder; only files in {self._root} itself are taken in"
                self._name("input-ignored", problem, str(path))

    def _name(self, event: str, problem: str, what: str) -> None:
        """Say something once."""
        if what not in self._named and len(self._named) < NAMED_MAX:
            self._named.add(what)
            self._notices.append((event, printable(problem)))


def _own_name(file: Claimed) -> str:
    """The name that the writer gave, byte for byte."""
    match = CLAIMED_NAME.fullmatch(file.path.name)
    return match[2] if match else _cut(file.path.name)


def _answer_name(file: Claimed) -> str:
    """In the folder of answers."""
    name = _own_name(file)
    return f"{name}.npz" if name.lower().endswith(ENDINGS) else name


def _cut(name: str) -> str:
    """A name that is too long ends after one byte more than is accepted, and so is known when the file is read."""
    return os.fsdecode(os.fsencode(name)[: NAME_BYTES_MAX + 1])
