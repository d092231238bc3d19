"""Seals heads and priors on their way out with the server's key, and knows its own seals again on their way in.

What is stored is not sealed: a seal binds a message to the topic that it goes to, and is made when it goes there. So
another key, or another topic, needs nothing but another start.

**Series.** Devices that check seals never go back to a lower number. A server that lost its store, and whose broker
lost the retained head, too, cannot know how far its numbers had come: it begins a new series, which comes after every
one before it, and counts from 1 again. A retained head with a seal of its own shows the series to go on in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from aggregator.effects import Effect, Instant, Note
from aggregator.store import Store
from headway.errors import RemoteError
from headway.ports import Outgoing
from headway.private_keys import Signer
from headway.wire import KEY_ID_BYTES, Kind, PublishedHead, Seal, parse_topic, sealed_text, with_seal, without_seal

SEALED = (Kind.HEAD, Kind.PRIOR)
# the store's numbers of the series at hand: Unix time in seconds when it began, 0 for none; and of one that is over
SERIES, PAST = "head_series", "head_series_past"


class Sealing:
    """Of one fleet. Every method must run inside a transaction of the store. signer: None seals nothing."""

    def __init__(self, store: Store, signer: Signer | None) -> None:
        self._store, self._signer = store, signer
        # topics on which something that has no seal of ours was retained, told once
        self._told: set[str] = set()

    def sealed(self, effects: Sequence[Effect], version: int, now: Instant) -> list[Effect]:
        """The same effects, with heads and priors sealed. version: of the newest head of the fleet."""
        return [self._sealed(effect, version, now) for effect in effects]

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
        if seal.series > self._store.number(SERIES):
            self._store.put_number(SERIES, seal.series)
        return bare, []

    def _sealed(self, effect: Effect, version: int, now: Instant) -> Effect:
        if self._signer is None or not isinstance(effect, Outgoing) or not effect.payload:
            return effect
        kind = parse_topic(effect.topic).kind if effect.content_type else None
        if kind not in SEALED:
            return effect
        if kind is Kind.HEAD:
            version = PublishedHead.decode(effect.payload).version
        series = self._series(now)
        signature = self._signer.sign(sealed_text(effect.topic, effect.payload, series, version))
        seal = Seal(series, version, self._signer.public_key[:KEY_ID_BYTES], signature)
        return replace(effect, payload=with_seal(effect.payload, seal))

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
