"""Tracks what the fleet sent: its head, and, on request, statistics of the other devices."""

from __future__ import annotations

from hashlib import blake2b

from edge_agent.learner import HeadLearner
from headway.wire import PriorRequest

# a connection that does not last must not become a flood
REQUESTS_PER_HEAD_MAX = 3


class Downlink:
    """What this device has seen of it, and when to ask for more."""

    def __init__(self, learner: HeadLearner) -> None:
        self._learner = learner
        self._seen = False, b""
        # the head for which the others' statistics were requested on this connection
        self._asked_at = self._times = self._newest = 0

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
