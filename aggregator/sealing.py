"""Seals heads, priors and orders on their way out with the server's key, and knows its own seals on their way in.

What is stored is not sealed: a seal binds a message to the topic that it goes to, and is made when it goes there. So
another key, or another topic, needs nothing but another start.

**Series.** Devices that check seals never go back to a lower number. A server that lost its store, or has one of an
older day, cannot know how far its numbers had come: it begins a new series, which comes after every one before it. That
is one after the series of the retained head, where that has a seal of its own, or the time, whichever is more.

**Orders** (the desired bundle, settings, commands) are numbered by a clock that never goes back: Unix time in
milliseconds, or one more than the last number where that is higher.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from aggregator.effects import Effect, Instant, Note
from aggregator.store import Store
from aggregator.store.rows import SUPPORTED_COMMANDS
from headway.errors import RemoteError
from headway.ports import Outgoing
from headway.private_keys import Signer
from headway.wire import (
    KEY_ID_BYTES,
    ORDERS,
    WITHDRAWN,
    Kind,
    PublishedHead,
    Seal,
    parse_topic,
    sealed_text,
    with_order_seal,
    with_seal,
    without_seal,
)

SEALED = (Kind.HEAD, Kind.PRIOR)
# the store's numbers of the series at hand: Unix time in seconds when it began, 0 for none; and of one that is over
SERIES, PAST = "head_series", "head_series_past"
# and the number of the last order
ORDER = "order_number"
ORDER_ENDINGS = tuple(f"/{kind}" for kind in ORDERS)


class Sealing:
    """Of one fleet. Every method must run inside a transaction of the store. signer: None seals nothing."""

    def __init__(self, store: Store, signer: Signer | None) -> None:
        self._store, self._signer = store, signer
        # topics on which something that has no seal of ours was retained, told once
        self._told: set[str] = set()

    def sealed(self, effects: Sequence[Effect], version: int, now: Instant) -> list[Effect]:
        """The same effects, with heads and priors sealed. version: of the newest head of the fleet."""
        return [sealed for effect in effects for sealed in self._each(effect, version, now)]

    def opened(self, name: str, payload: bytes) -> tuple[bytes, list[Effect]]:
        """A head that the broker retains under the topic `name`, without its seal; what people should know.

        Empty bytes stand for one that is not this server's, with which nothing can be begun.
        """
        bare, seal = self._without_seal(payload)
        own = seal is not None and self._is_own(name, bare, seal)
        # one that is stored here may have no seal, or one of an earlier key: it is about to be sealed and sent again
        if self._signer is None or (not own and self._store.has_head(bare)):
            return bare, []
        if seal is None or not own:
            problem = f"the head retained on {name} has no seal of this server's key; it is not gone on from"
            known = name in self._told
            self._told.add(name)
            return b"", [] if known else [Note(problem, warning=True)]
        if seal.series > max(self._store.number(SERIES), self._store.number(PAST)):
            # of a store that was lost; it may have numbered more, orders above all, than this head shows
            self._store.put_number(PAST, seal.series)
            self._store.put_number(SERIES, 0)
        return bare, []

    def _each(self, effect: Effect, version: int, now: Instant) -> list[Effect]:
        """As it goes out. An order that is withdrawn is cleared, which every device knows; and said once more with a
        seal, to those that may demand one."""
        if not isinstance(effect, Outgoing) or effect.payload != WITHDRAWN:
            return [self._sealed(effect, version, now)]
        cleared: list[Effect] = [replace(effect, payload=b"")]
        known = self._signer is not None and self.reads_seals(parse_topic(effect.topic).device)
        return [*cleared, self._sealed_order(effect, now)] if known else cleared

    def _sealed(self, effect: Effect, version: int, now: Instant) -> Effect:
        if self._signer is None or not isinstance(effect, Outgoing) or not effect.payload:
            return effect
        if effect.topic.endswith(ORDER_ENDINGS):
            return self._sealed_order(effect, now)
        kind = parse_topic(effect.topic).kind if effect.content_type else None
        if kind not in SEALED:
            return effect
        if kind is Kind.HEAD:
            version = PublishedHead.decode(effect.payload).version
        return replace(effect, payload=with_seal(effect.payload, self._seal(self._signer, effect, version, now)))

    def _sealed_order(self, effect: Outgoing, now: Instant) -> Outgoing:
        address = parse_topic(effect.topic)
        if self._signer is None or (address.kind is Kind.DESIRED and not self.reads_seals(address.device)):
            return effect
        number = max(int(now.wall_s * 1000), self._store.number(ORDER) + 1)
        self._store.put_number(ORDER, number)
        return replace(effect, payload=with_order_seal(effect.payload, self._seal(self._signer, effect, number, now)))

    def reads_seals(self, device: str) -> bool:
        """Whether the device is known to read an order as it is sent; release 0.2 knows orders of bundles alone, and
        refuses them with a seal. Later ones have told which commands they know."""
        return self._signer is None or self._store.rows(SUPPORTED_COMMANDS).get(device) is not None

    def _seal(self, signer: Signer, effect: Outgoing, version: int, now: Instant) -> Seal:
        series = self._series(now)
        signature = signer.sign(sealed_text(effect.topic, effect.payload, series, version))
        return Seal(series, version, signer.public_key[:KEY_ID_BYTES], signature)

    def _series(self, now: Instant) -> int:
        series = self._store.number(SERIES)
        if not series:
            series = max(int(now.wall_s), self._store.number(PAST) + 1)
            self._store.put_number(SERIES, series)
        return series

    def _is_own(self, name: str, bare: bytes, seal: Seal) -> bool:
        if self._signer is None or seal.key_id != self._signer.public_key[:KEY_ID_BYTES]:
            return False
        # Ed25519 signs one text in one way alone
        return self._signer.sign(sealed_text(name, bare, seal.series, seal.version)) == seal.signature

    @staticmethod
    def _without_seal(payload: bytes) -> tuple[bytes, Seal | None]:
        try:
            return without_seal(payload)
        except RemoteError:
            return payload, None
