"""Checks seals with the public keys of a file, and not more often than a device can afford."""

from __future__ import annotations

import hashlib
from pathlib import Path

from headway.bundle import checks_are_quick, read_public_keys, signed_by
from headway.errors import ConfigError, RemoteError
from headway.ports import Clock
from headway.wire import KEY_ID_BYTES, Kind, Seal, sealed_text

# who floods a device must not keep it busy: about a hundredth of a small processor's time, at 0.6 ms for each (0.11 on
# a desktop) where there is a library to ask, and at 30 ms (5) where each is a process
QUICK_CHECKS_MAX, PROCESSES_MAX, CHECKS_WINDOW_S = 1000, 20, 60.0
TIMEOUT_S = 10.0


# of what a message is, where its kind alone makes no sentence
WORDS = {Kind.DESIRED: "desired bundle", Kind.COMMANDS: "list of commands"}


def words(kind: Kind) -> str:
    """A message of this kind, for people."""
    return WORDS.get(kind, str(kind))


class FloodError(RemoteError):
    """So many forged messages come that honest ones may be given up."""


class SealChecks:
    """keys: public keys, 32 bytes each; none: nothing is demanded."""

    def __init__(self, keys: tuple[bytes, ...], clock: Clock) -> None:
        self._keys, self._clock = {key[:KEY_ID_BYTES]: key for key in keys}, clock
        self._checked: dict[Kind, bytes] = {}
        self._window_s, self._checks, self._forged = float("-inf"), 0, 0

    @classmethod
    def of(cls, keys_file: Path | None, clock: Clock) -> SealChecks:
        """Raises ConfigError for a file that holds no keys."""
        return cls(() if keys_file is None else read_public_keys(keys_file), clock)

    @property
    def demanding(self) -> bool:
        """Whether a seal is demanded."""
        return bool(self._keys)

    @property
    def forged(self) -> int:
        """How many seals were not good, of those that were checked in the window at hand."""
        return self._forged

    def knows(self, seal: Seal | None) -> bool:
        """Whether it says that it is of one of the keys."""
        return seal is not None and seal.key_id in self._keys

    def known(self, kind: Kind, seal: Seal) -> bytes:
        """The public key that it says it is of. Raises RemoteError where that is none of ours."""
        key = self._keys.get(seal.key_id)
        if key is None:
            raise RemoteError(
                f"the {words(kind)} is sealed with key {seal.key_id.hex()}, which is not in [sync] head_keys"
            )
        return key

    def room(self, beside: int = 0) -> bool:
        """Whether one more can be checked now, beside so many that were there before it."""
        over = self._clock.monotonic_s() - self._window_s >= CHECKS_WINDOW_S
        return beside + (0 if over else self._checks) < self._checks_max

    def check(self, kind: Kind, name: str, bare: bytes, seal: Seal) -> None:
        """name: the topic; bare: the message without its seal. What was checked last of its kind is not checked again.

        Raises RemoteError for a seal that none of the keys has made for this.
        """
        key = self.known(kind, seal)
        text = sealed_text(name, bare, seal.series, seal.version)
        digest = hashlib.sha256(text + seal.signature + key).digest()
        if self._checked.get(kind) == digest:
            return
        now_s = self._clock.monotonic_s()
        if now_s - self._window_s >= CHECKS_WINDOW_S:
            self._window_s, self._checks, self._forged = now_s, 0, 0
        if self._checks >= self._checks_max:
            most = f"more than {self._checks_max} seals in {CHECKS_WINDOW_S:g} s"
            raise RemoteError(f"{most}; this {words(kind)} is not looked at")
        self._checks += 1
        try:
            good = signed_by(key, text, seal.signature, TIMEOUT_S)
        except ConfigError as error:
            raise RemoteError(f"the seal of the {words(kind)} cannot be checked: {error}") from error
        if not good:
            self._forged += 1
            raise RemoteError(
                f"the seal of the {words(kind)} is not that of key {seal.key_id.hex()}: forged, or damaged"
            )
        self._checked[kind] = digest

    @property
    def _checks_max(self) -> int:
        return QUICK_CHECKS_MAX if checks_are_quick() else PROCESSES_MAX
