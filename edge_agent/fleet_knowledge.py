"""Takes in what the fleet knows: its head, and what others learned; believed first, then committed. And orders."""

from __future__ import annotations

import logging

from edge_agent.agent import Agent
from edge_agent.config import AgentConfig
from edge_agent.head_trust import HeadTrust
from edge_agent.order_trust import OrderTrust
from edge_agent.seal_checks import SealChecks
from edge_agent.store import RetryingStore
from headway.errors import RemoteError
from headway.ports import Clock
from headway.wire import ORDERS, Kind, PublishedHead

log = logging.getLogger("edge-agent")

FLEET_KINDS = (Kind.HEAD, Kind.PRIOR)


class FleetKnowledge:
    """Of one device. Raises ConfigError when made, for keys that cannot be read."""

    def __init__(self, config: AgentConfig, clock: Clock, agent: Agent, store: RetryingStore) -> None:
        self._clock, self._agent, self._store = clock, agent, store
        checks = SealChecks.of(config.sync.head_keys, clock)
        self._trust = HeadTrust(config.fleet, config.device, agent.learner.space, checks)
        self._orders = OrderTrust(config, clock, agent, store)

    def order(self, name: str, kind: Kind, payload: bytes) -> bytes | None:
        """A message as the device acts on it, None for nothing; those that are no orders as they are.

        Raises RemoteError for an order that is not to be believed.
        """
        return self._orders.opened(name, kind, payload) if kind in ORDERS else payload

    def take_waiting(self) -> list[tuple[str, bytes]]:
        """Orders, with their topics, whose seals can be checked only now."""
        return self._orders.take_waiting()

    def receive(self, name: str, kind: Kind, payload: bytes, retain: bool) -> None:
        """A message came under the topic `name`. Raises RemoteError for what cannot be used."""
        if not payload:
            return
        if kind is Kind.HEAD:
            self._head(name, payload, retain)
        elif not self._store.degraded:
            self._prior(name, payload)

    def _head(self, name: str, payload: bytes, retain: bool) -> None:
        agent, downlink = self._agent, self._agent.downlink
        ordered = False
        if self._trust.demanding:
            head = PublishedHead.decode(payload)
            if head.space != agent.learner.space:
                return
            payload, seal = self._trust.opened(name, payload, downlink.order_of(Kind.HEAD))
            if seal.version != head.version:
                raise RemoteError(f"head {head.version} has the seal of head {seal.version}")
            # the seals say which head is the newest, so that the broker need not
            ordered, retain = downlink.take_order(seal.order, Kind.HEAD), True
        if agent.head_published(payload, retain):
            self._commit()
            log.info("fleet head version %d is a candidate now", agent.learner.fleet_version)
        elif ordered:
            self._commit()

    def _prior(self, name: str, payload: bytes) -> None:
        if self._trust.demanding:
            if not self._agent.learner.wants_prior:
                return
            payload, _ = self._trust.opened(name, payload, self._agent.downlink.order_of(Kind.HEAD))
        if self._agent.prior_received(payload):
            self._commit()
            log.info("starting from %d labels of other devices, too", self._agent.learner.prior_samples)

    def _commit(self) -> None:
        self._store.commit(self._agent.changes(), self._clock.monotonic_s())
