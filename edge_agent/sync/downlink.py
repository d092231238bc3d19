"""Tracks what the fleet sent: its head, on request statistics of the other devices, and how new what it sealed was."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b

from edge_agent.learner import HeadLearner
from edge_agent.store import ORDER, ORDER_NUMBERS, Extent, Saved
from headway.durable import checked, unchecked
from headway.errors import StoreError
from headway.fields import Fields, JsonValue, canonical_json, parse_json
from headway.wire import ORDERS, Kind, PriorRequest

# a connection that does not last must not become a flood
REQUESTS_PER_HEAD_MAX = 3


class Downlink:
    """What this device has seen of it, and when to ask for more."""

    def __init__(self, learner: HeadLearner) -> None:
        self._learner = learner
        self._seen = False, b""
        # the head for which the others' statistics were requested on this connection
        self._asked_at = self._times = self._newest = 0
        self._orders: dict[Kind, tuple[int, int]] = {}
        self._unsaved: set[str] = set()

    def order_of(self, kind: Kind) -> tuple[int, int]:
        """Series and version of the newest message of a kind whose seal was good, zeros before any; outlives restarts.

        kind: heads, by whose order priors are judged, too, or one of `headway.wire.ORDERS`.
        """
        return self._orders.get(kind, (0, 0))

    def take_order(self, order: tuple[int, int], kind: Kind) -> bool:
        """A message with a good seal has come; True where it is newer, and then commit."""
        if order <= self.order_of(kind):
            return False
        self._orders[kind] = order
        self._unsaved.add(_saved_as(kind))
        return True

    def take_changes(self, extent: Extent) -> Saved:
        """What the next commit must hold of it."""
        names = {_saved_as(kind) for kind in self._orders} if extent is Extent.EVERYTHING else set(self._unsaved)
        self._unsaved.clear()
        return Saved({name: checked(canonical_json(self._content(name))) for name in sorted(names)})

    def restore(self, saved: Mapping[str, bytes]) -> None:
        """Inverse of `take_changes`; agents before seals saved nothing. Raises StoreError."""
        if ORDER in saved:
            where = "saved order of heads"
            found = parse_json(unchecked(saved[ORDER], where), where, StoreError)
            self._orders[Kind.HEAD] = _read_order(Fields({"order": found}, where, StoreError), "order")
        if ORDER_NUMBERS in saved:
            where = "saved numbers of orders"
            fields = Fields(parse_json(unchecked(saved[ORDER_NUMBERS], where), where, StoreError), where, StoreError)
            self._orders.update({kind: _read_order(fields, kind) for kind in ORDERS if fields.has(kind)})
            fields.finish()

    def _content(self, name: str) -> JsonValue:
        if name == ORDER:
            return [*self.order_of(Kind.HEAD)]
        return {str(kind): [*self._orders[kind]] for kind in ORDERS if kind in self._orders}

    def reconnected(self) -> None:
        """A fresh connection: an answer may have been lost with the one before."""
        if self._times < REQUESTS_PER_HEAD_MAX:
            self._asked_at = 0

    def has_seen(self, payload: bytes, retained: bool) -> bool:
        """Whether this is the head that was looked at last: the broker's retained one comes with every connection."""
        return (retained, self._digest(payload)) == self._seen

    def saw(self, payload: bytes, retained: bool) -> None:
        """A head of the fleet was looked at, and can be used. retained: as the broker's newest, whatever its number."""
        self._seen = retained, self._digest(payload)

    def prior_request(self) -> bytes | None:
        """The request for the other devices' statistics, while few labels of its own make them useful.

        Once for each head of the fleet that holds at least twice what is known of them already.
        """
        learner, head = self._learner, self._learner.fleet_head
        if head is None or head.version <= self._asked_at or not learner.wants_prior:
            return None
        if head.samples < 2 * max(learner.prior_samples, 1):
            return None
        self._times = self._times + 1 if head.version == self._newest else 1
        self._asked_at = self._newest = head.version
        return PriorRequest(learner.space, learner.prior_samples).encode()

    @staticmethod
    def _digest(payload: bytes) -> bytes:
        return blake2b(payload, digest_size=16).digest()


def _saved_as(kind: Kind) -> str:
    """The name of the saved value that holds the order of this kind."""
    return ORDER if kind is Kind.HEAD else ORDER_NUMBERS


def _read_order(fields: Fields, name: str) -> tuple[int, int]:
    numbers = fields.integers(name, count_max=2)
    if len(numbers) != 2:
        raise StoreError(f"{fields.where} holds {len(numbers)} numbers; expected series and version")
    return numbers[0], numbers[1]
