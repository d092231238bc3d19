"""Keeps the bundles of a device: the one it was set up with, and two slots that deliveries fill in turn.

    slots/pointer.json, .copy       which slot is active: the one durable write that switches (pointer.py)
    slots/a/, slots/b/              desired.json, bundle.part while it comes, bundle.hwb once it is whole
    slots/gone-back                 sha256 of the older bundle to which a request led back: it alone may run again

A slot that has just become active is on trial. Every start in the trial is counted before the bundle is touched, so
that a bundle which takes the process down with it comes to an end too.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from edge_agent.delivery.pointer import FACTORY, SLOTS, Pointer, is_copied, read_pointer, write_pointer
from headway.durable import read_regular, refused_by_disk, sync_folder, write_durably
from headway.errors import RemoteError, StoreError, reason
from headway.wire import CHUNK_BYTES_MAX, Desired

REFUSED_MAX = 16
GONE_BACK = "gone-back"
BY_COMMAND = " was rolled back by command "
HASH_BLOCK_BYTES = 1 << 20


class Slots:
    """The slots of one state folder. after_step: called with a step's name once it is durable; tests die there.

    problem: what was wrong with the pointer's file, whose copy was read instead; '' for nothing.
    Raises StoreError when the disk refuses, or neither the pointer nor its copy can be read.
    """

    def __init__(self, state_dir: Path, factory: Path, after_step: Callable[[str], None] = lambda step: None) -> None:
        self._folder, self._factory, self._after_step = state_dir / "slots", factory, after_step
        self._state_dir = state_dir
        self.pointer, self.problem = read_pointer(self._folder)

    @property
    def bundle(self) -> Path:
        """The bundle to run."""
        return self._path(self.pointer.active)

    @property
    def store_dir(self) -> Path:
        """Where the agent keeps what it learned with the active bundle: a folder per feature space, so that going back
        finds the old one as it was."""
        spaces = self.pointer.spaces
        space = spaces.get(self.pointer.active)
        if space is None or space == spaces.get(FACTORY):
            return self._state_dir
        return self._state_dir / f"space-{space[:16]}"

    def may_be_older(self) -> bool:
        """Whether the bundle to run is the very file to which a request led back, older than what ran before."""
        try:
            return read_regular(self._folder / GONE_BACK) == file_sha256(self.bundle).encode()
        except (OSError, StoreError):
            return False  # a bundle that cannot be read says so when it is opened

    @property
    def idle(self) -> Path:
        """Folder of the slot that does not run. After a trial nobody goes back to what lies there."""
        return self._folder / next(slot for slot in SLOTS if slot != self.pointer.active)

    def begin(self, desired: Desired) -> None:
        """Make room for a delivery, durably; whatever lay in the idle slot goes."""
        try:
            if self.idle.is_symlink() or not self.idle.is_dir():
                _remove(self.idle)
            self.idle.mkdir(parents=True, exist_ok=True)
            self.clear()
            if self.pointer.tests:
                self._write(replace(self.pointer, tests=0))
            write_durably(self.idle / "desired.json", desired.encode())
            sync_folder(self._folder)
        except OSError as error:
            raise StoreError(f"cannot use {self.idle}: {error.strerror or error}") from error

    def mean(self, desired: Desired) -> None:
        """The same delivery is meant in another way now."""
        try:
            write_durably(self.idle / "desired.json", desired.encode())
        except OSError as error:
            raise StoreError(f"cannot use {self.idle}: {error.strerror or error}") from error

    def clear(self) -> None:
        """Empty the idle slot, whatever lies there. Raises StoreError."""
        for name in ("desired.json", "bundle.part", "bundle.hwb"):
            _remove(self.idle / name)

    def waiting(self) -> Desired | None:
        """The delivery that the idle slot holds, whole or in part. Raises StoreError where that cannot be read."""
        path = self.idle / "desired.json"
        try:
            return Desired.decode(read_regular(path))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, RemoteError) as error:
            raise StoreError(f"{path} is damaged: {reason(error) if isinstance(error, OSError) else error}") from error

    def left(self) -> tuple[Desired | None, int, str]:
        """After a start: the delivery that the idle slot holds, the bytes of it that are whole, and why what lay there
        is of no use. That is cleared away: where it is still wanted, it is asked for again with the next connection."""
        try:
            wanted, size = self.waiting(), self.received()
            if wanted is None or not size:
                return wanted, 0, ""
            # ranges are written one after the other, each synced: only the last one can be torn by a power cut
            whole = (min(size, wanted.size) - 1) // CHUNK_BYTES_MAX * CHUNK_BYTES_MAX
            self.truncate(whole)
            return wanted, whole, ""
        except StoreError as error:
            lost = str(error)
        try:
            self.clear()
        except StoreError as error:
            lost = f"{lost}; {error}"
        return None, 0, lost[:300]

    @property
    def complete(self) -> bool:
        """True when the file in the idle slot has passed its hash."""
        return (self.idle / "bundle.hwb").is_file()

    def received(self) -> int:
        """Bytes of the delivery that are surely on the disk, in steps of no particular size. Raises StoreError."""
        path = self.idle / "bundle.part"
        if not os.path.lexists(path):
            return 0
        if path.is_symlink() or not path.is_file():
            raise StoreError(f"{path} is not a regular file")
        with refused_by_disk(f"cannot read {path}"):
            return path.stat().st_size

    def truncate(self, size: int) -> None:
        """Forget what lies behind `size`: the last write before a power cut may be torn. Raises StoreError."""
        path = self.idle / "bundle.part"
        with refused_by_disk(f"cannot write {path}"), path.open("r+b") as file:
            file.truncate(size)
            os.fsync(file.fileno())

    def append(self, offset: int, data: bytes) -> None:
        """Write a range behind the ones before it, durably. Raises StoreError."""
        path = self.idle / "bundle.part"
        try:
            new = not path.exists()
            with path.open("r+b" if not new else "xb") as file:
                file.seek(offset)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            if new:
                sync_folder(self.idle)
        except OSError as error:
            raise StoreError(f"cannot write {path}: {error.strerror or error}") from error
        self._after_step("chunk")

    def whole(self, desired: Desired) -> bool:
        """True when the file is here and its hash is right; a wrong one is deleted."""
        part, done = self.idle / "bundle.part", self.idle / "bundle.hwb"
        if self.complete:
            return True
        self._after_step("last_chunk")
        if file_sha256(part) != desired.sha256:
            part.unlink()
            return False
        os.replace(part, done)
        sync_folder(self.idle)
        self._after_step("verify")
        return True

    def count_test(self) -> int:
        """Note that the waiting bundle is tested, before it is; returns how many tests were begun before."""
        self._write(replace(self.pointer, tests=self.pointer.tests + 1))
        return self.pointer.tests - 1

    def uncount_test(self) -> None:
        """A test was given up for another reason."""
        self._write(replace(self.pointer, tests=max(0, self.pointer.tests - 1)))

    def uncount_tests(self) -> None:
        """The waiting bundle does no harm."""
        self._write(replace(self.pointer, tests=0))

    def switch(self, space: str, running_space: str, boot: int, consumed: int) -> None:
        """Make the idle slot the active one, on trial. One durable write."""
        self._after_step("stage")
        spaces = {**self.pointer.spaces, self.idle.name: space, self.pointer.active: running_space}
        self._write(
            replace(
                self.pointer,
                active=self.idle.name,
                previous=self.pointer.active,
                confirmed=False,
                starts=0,
                healthy_s=0.0,
                boot=boot,
                consumed=consumed,
                tests=0,
                spaces=spaces,
            )
        )
        self._after_step("switch")

    def count_start(self) -> int:
        """Note, before it happens, that the active slot is started; returns how many starts came to nothing so far."""
        if self.pointer.confirmed:
            return 0
        self._write(replace(self.pointer, starts=self.pointer.starts + 1))
        self._after_step("first_boot")
        return self.pointer.starts - 1

    def stopped_well(self, healthy_s: float) -> None:
        """The process ends because somebody asked for it: that start is no failure."""
        if not self.pointer.confirmed:
            total_s = self.pointer.healthy_s + healthy_s
            self._write(replace(self.pointer, starts=max(0, self.pointer.starts - 1), healthy_s=total_s))

    def confirm(self, release: int) -> None:
        """The trial is over."""
        floor = max(self.pointer.floor, release)
        self._write(replace(self.pointer, confirmed=True, starts=0, healthy_s=0.0, floor=floor))
        _remove(self._folder / GONE_BACK)
        used = {f"space-{self.pointer.spaces.get(slot, '')[:16]}" for slot in (FACTORY, *SLOTS)}
        for folder in self._state_dir.glob("space-*"):
            if folder.name not in used:
                shutil.rmtree(folder, ignore_errors=True)

    def roll_back(self, reason: str) -> None:
        """Back to the bundle before; this one is not tried again. One durable write."""
        pointer = self.pointer
        sha256 = file_sha256(self.bundle) if self.bundle.is_file() else "0" * 64
        reason = " ".join(reason.split())[:300]
        active = replace(pointer, active=pointer.previous, confirmed=True, starts=0, healthy_s=0.0, rolled_back=reason)
        self._write(replace(active, refused=_remembered(pointer.refused, sha256, reason)))

    def go_back(self, reason: str, boot: int, consumed: int) -> str:
        """Back to the bundle before, although this one was confirmed; returns why that cannot be, or nothing.

        boot, consumed: what the agent has counted, so that the other store does not count it again.
        """
        pointer = self.pointer
        before = self._path(pointer.previous)
        if pointer.previous == pointer.active or not before.exists():
            return "the bundle before it is no longer here"
        # first: the next start refuses what is older than it has run, and this must not end there
        write_durably(self._folder / GONE_BACK, file_sha256(before).encode())
        self._write(replace(pointer, boot=boot, consumed=consumed))
        self.roll_back(reason)
        return ""

    def leave(self, problem: str, boot: int, consumed: int, usable: Callable[[Path], bool]) -> bool:
        """The active bundle cannot be read any more: back to the one before, or to the one that the device was set up
        with, where that can be. One durable write. The release that is left may be delivered once more.

        boot, consumed: as for `go_back`.
        """
        pointer = self.pointer
        for slot in dict.fromkeys((pointer.previous, FACTORY)):
            path = self._path(slot)
            if slot != pointer.active and usable(path):
                write_durably(self._folder / GONE_BACK, file_sha256(path).encode())
                floor, problem = max(0, pointer.floor - 1), " ".join(problem.split())[:300]
                # the disk failed, not the bundle: what its file or its order says by now is no reason to refuse any
                active = replace(pointer, active=slot, previous=slot, confirmed=True, starts=0, healthy_s=0.0)
                self._write(replace(active, floor=floor, boot=boot, consumed=consumed, rolled_back=problem))
                return True
        return False

    def go_back_by_command(self, command_id: str, release: int, boot: int, consumed: int) -> str:
        """The same because a command says so. release: that runs now."""
        return self.go_back(f"release {release}{BY_COMMAND}{command_id}", boot, consumed)

    def rolled_back_by(self, command_id: str) -> int | None:
        """The release from which a command led back; None where it has not.

        The write that switches remembers the command, so that there is no moment at which only one of both is saved.
        """
        for why in self.pointer.refused.values():
            release, by, found = why.removeprefix("release ").partition(BY_COMMAND)
            if by and found == command_id and release.isdecimal():
                return int(release)
        return None

    def roll_back_reported(self) -> None:
        """People know of the roll-back now."""
        self._write(replace(self.pointer, rolled_back=""))

    def refuse(self, desired: Desired, reason: str) -> None:
        """Empty the idle slot and remember why, so that a retained message does not bring it again."""
        refused = _remembered(self.pointer.refused, desired.sha256, reason)
        self._write(replace(self.pointer, refused=refused, tests=0))
        self.clear()

    def note_boot(self, boot: int) -> None:
        """A start on trial has this boot number; going back must not use it again."""
        self._write(replace(self.pointer, boot=boot))

    def mend(self) -> None:
        """Write the pointer again where it or its copy is damaged or gone. Raises StoreError."""
        if not is_copied(self._folder, self.pointer):
            self._write(self.pointer)

    def use_configured(self) -> None:
        """Leave the slots: the configured bundle is newer."""
        self._write(replace(self.pointer, active=FACTORY, previous=FACTORY, confirmed=True, starts=0, healthy_s=0.0))

    def _path(self, slot: str) -> Path:
        return self._factory if slot == FACTORY else self._folder / slot / "bundle.hwb"

    def _write(self, pointer: Pointer) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"cannot use {self._folder}: {error.strerror or error}") from error
        write_pointer(self._folder, pointer)
        self.pointer = pointer


def _remove(path: Path) -> None:
    """Whatever it is. Raises StoreError."""
    with refused_by_disk(f"cannot delete {path}"):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif os.path.lexists(path):
            path.unlink()


def file_sha256(path: Path) -> str:
    """Hash of a file, read in blocks. Raises StoreError."""
    digest = hashlib.sha256()
    if path.exists() and not path.is_file():
        raise StoreError(f"cannot read {path}: it is not a regular file")
    try:
        with path.open("rb") as file:
            while block := file.read(HASH_BLOCK_BYTES):
                digest.update(block)
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror or error}") from error
    return digest.hexdigest()


def _remembered(refused: dict[str, str], sha256: str, reason: str) -> dict[str, str]:
    kept = [(key, value) for key, value in refused.items() if key != sha256][-(REFUSED_MAX - 1) :]
    return {**dict(kept), sha256: reason[:300]}
