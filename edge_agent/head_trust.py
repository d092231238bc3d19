"""Which heads and priors a device believes: those that a key of its own file sealed, in the order of their seals.

Checked by `edge_agent.seal_checks`, and only what is new: the broker's retained head, which comes with every
connection, is checked once. Docs: docs/protocol.md, 4.31.
"""

from __future__ import annotations

from edge_agent.seal_checks import SealChecks
from headway.errors import RemoteError
from headway.wire import ALL, Address, Kind, Seal, parse_topic, space_name, without_seal


class HeadTrust:
    """Of one device. checks: that demand nothing believe whatever comes."""

    def __init__(self, fleet: str, device: str, space: str, checks: SealChecks) -> None:
        self._fleet, self._device, self._space, self._checks = fleet, device, space, checks

    @property
    def demanding(self) -> bool:
        """Whether a seal is demanded."""
        return self._checks.demanding

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
        self._checks.check(address.kind, name, bare, seal)
        return bare, seal

    def _ours(self) -> tuple[Address, ...]:
        readers = (ALL, space_name(self._space))
        heads = (Address(self._fleet, reader, Kind.HEAD) for reader in readers)
        return (*heads, Address(self._fleet, self._device, Kind.PRIOR))
