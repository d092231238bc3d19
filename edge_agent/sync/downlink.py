"""What the fleet tells a device: its head, and, when asked, what the other devices learned."""

from __future__ import annotations

from hashlib import blake2b

from edge_agent.learner import Learner
from edge_agent.store import Checkpointer, HeadAdopted, PriorAdopted
from headway.wire import FleetPrior, PriorRequest, PublishedHead


class Downlink:
    """Takes up what is new, and notes it for the next commit. Commit after every method that returns True."""

    def __init__(self, learner: Learner, checkpointer: Checkpointer) -> None:
        self._learner, self._checkpointer = learner, checkpointer
        self._head_heard = b""
        # the head for which the others' tables were asked on this connection
        self._asked_at = 0

    def reconnected(self) -> None:
        """A fresh connection: an answer may have been lost with the one before."""
        self._asked_at = 0

    def head_published(self, payload: bytes) -> bool:
        """The fleet has a new head; True when it was news. Raises RemoteError when it cannot be used."""
        # the broker's retained head comes again with every connection
        digest = blake2b(payload, digest_size=16).digest()
        if digest == self._head_heard:
            return False
        news = self._learner.adopt(PublishedHead.decode(payload))
        self._head_heard = digest
        if news:
            self._checkpointer.note(HeadAdopted(payload))
        return news

    def prior_request(self) -> bytes | None:
        """What asks for the other devices' tables, while few labels of its own make them useful.

        Once for each head of the fleet that holds at least twice what is known of them already.
        """
        learner, head = self._learner, self._learner.fleet_head
        if head is None or head.version <= self._asked_at or not learner.wants_prior:
            return None
        if head.samples < 2 * max(learner.prior_samples, 1):
            return None
        self._asked_at = head.version
        return PriorRequest(learner.space, learner.prior_samples).encode()

    def prior_told(self, payload: bytes) -> bool:
        """What the other devices learned; True when it was taken up. Raises RemoteError when it cannot be used."""
        news = self._learner.adopt_prior(FleetPrior.decode(payload, self._learner.feature_size))
        if news:
            self._checkpointer.note(PriorAdopted(payload))
        return news
