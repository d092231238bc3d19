"""Which heads and priors a device believes: those that a key of its own file sealed, in the order of their seals.

Checked by `headway.bundle.signed_by` in a process that ends, and only what is new: the broker's retained head, which
comes with every connection, is checked once. Docs: docs/protocol.md, 4.31.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from headway.bundle import read_public_keys, signed_by
from headway.errors import ConfigError, RemoteError
from headway.ports import Clock
from headway.wire import ALL, KEY_ID_BYTES, Address, Kind, Seal, parse_topic, sealed_text, space_name, without_seal

# a process for each: who floods a device with heads must not keep it busy
CHECKS_MAX, CHECKS_WINDOW_S = 20, 60.0
TIMEOUT_S = 10.0


class HeadTrust:
    """Of one device. keys: public keys, 32 bytes each; none: whatever comes is believed."""

    def __init__(self, fleet: str, device: str, space: str, keys: tuple[bytes, ...], clock: Clock) -> None:
        self._fleet, self._device, self._space = fleet, device, space
        self._keys, self._clock = {key[:KEY_ID_BYTES]: key for key in keys}, clock
        self._checked: dict[Kind, bytes] = {}
        self._window_s, self._checks = float("-inf"), 0

    @classmethod
    def of(cls, fleet: str, device: str, space: str, keys_file: Path | None, clock: Clock) -> HeadTrust:
        """Raises ConfigError for a file that holds no keys."""
        return cls(fleet, device, space, () if keys_file is None else read_public_keys(keys_file), clock)

    @property
    def demanding(self) -> bool:
        """Whether a seal is demanded."""
        return bool(self._keys)

    def opened(self, name: str, payload: bytes, newest: tuple[int, int]) -> tuple[bytes, Seal]:
        """The message without its seal, and that, which is good. name: the topic; newest: order of the newest head.

        Raises RemoteError for what is not sealed by one of the keys for this fleet and device, and what is older.
        """
        address = parse_topic(name)
        if address not in self._ours():
            raise RemoteError(f"a head or prior came under {name}, which is not for {self._device} of {self._fleet}")
        bare, seal = without_seal(payload)
        what = str(address.kind)
        if seal is None:
            raise RemoteError(f"the {what} has no seal, and [sync] head_keys demands one: set publish.signing_key")
        if seal.order < newest:
            raise RemoteError(
                f"the {what} is older than what this device has seen: series {seal.series} version {seal.version}, "
                f"after series {newest[0]} version {newest[1]}"
            )
        self._check(address.kind, name, bare, seal)
        return bare, seal

    def _ours(self) -> tuple[Address, ...]:
        readers = (ALL, space_name(self._space))
        heads = (Address(self._fleet, reader, Kind.HEAD) for reader in readers)
        return (*heads, Address(self._fleet, self._device, Kind.PRIOR))

    def _check(self, kind: Kind, name: str, bare: bytes, seal: Seal) -> None:
        key = self._keys.get(seal.key_id)
        if key is None:
            raise RemoteError(f"the {kind} is sealed with key {seal.key_id.hex()}, which is not in [sync] head_keys")
        text = sealed_text(name, bare, seal.series, seal.version)
        digest = hashlib.sha256(text + seal.signature + key).digest()
        if self._checked.get(kind) == digest:
            return
        now_s = self._clock.monotonic_s()
        if now_s - self._window_s >= CHECKS_WINDOW_S:
            self._window_s, self._checks = now_s, 0
        if self._checks >= CHECKS_MAX:
            raise RemoteError(f"more than {CHECKS_MAX} seals in {CHECKS_WINDOW_S:g} s; this {kind} is not looked at")
        self._checks += 1
        try:
            good = signed_by(key, text, seal.signature, TIMEOUT_S)
        except ConfigError as error:
            raise RemoteError(f"the seal of the {kind} cannot be checked: {error}") from error
        if not good:
            raise RemoteError(f"the seal of the {kind} is not that of key {seal.key_id.hex()}: forged, or damaged")
        self._checked[kind] = digest
