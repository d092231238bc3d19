"""Which orders (bundles, settings, commands) a device acts on: those that a key of its own file sealed, in their order.

Without keys it acts on all, as heads are believed (`edge_agent.head_trust`). Docs: docs/protocol.md, 4.32.
"""

from __future__ import annotations

import hashlib

from edge_agent.agent import Agent
from edge_agent.config import AgentConfig
from edge_agent.seal_checks import SealChecks
from edge_agent.store import RetryingStore
from headway.errors import RemoteError
from headway.ports import Clock
from headway.wire import Address, Kind, parse_topic, without_order_seal


class OrderTrust:
    """Of one device. Raises ConfigError when made, for keys that cannot be read."""

    def __init__(self, config: AgentConfig, clock: Clock, agent: Agent, store: RetryingStore) -> None:
        self._fleet, self._device = config.fleet, config.device
        self._clock, self._agent, self._store = clock, agent, store
        self._checks = SealChecks.of(config.sync.head_keys, clock)
        # of each kind what was believed last: the same words in another message change nothing
        self._last: dict[Kind, bytes] = {}
        self._waiting: dict[Kind, tuple[str, bytes]] = {}

    def take_waiting(self) -> list[tuple[str, bytes]]:
        """The newest of each kind that came when too many had been checked, once there is room again."""
        if not self._waiting or not self._checks.room:
            return []
        waiting, self._waiting = [*self._waiting.values()], {}
        return waiting

    def opened(self, name: str, kind: Kind, payload: bytes) -> bytes | None:
        """An order without its seal, on which to act; None for one that says nothing, or has to wait. name: the topic.

        Raises RemoteError for what has no good seal for this device, and what is older than an order that had.
        """
        if not self._checks.demanding:
            return payload
        if parse_topic(name) != Address(self._fleet, self._device, kind):
            raise RemoteError(f"an order came under {name}, which is not for {self._device} of {self._fleet}")
        if not payload:
            # the topic was cleared, which has no seal: a download may end, and what was done is not forgotten
            return payload if kind is Kind.DESIRED else None
        bare, seal = without_order_seal(payload)
        if seal is None:
            raise RemoteError(
                f"the {kind} has no seal, and [sync] head_keys demands one: set publish.signing_key, and update a "
                "server that seals heads alone"
            )
        digest = hashlib.sha256(bare).digest()
        if self._last.get(kind) == digest:
            return bare
        downlink = self._agent.downlink
        if seal.order < downlink.order_of(kind):
            raise RemoteError(
                f"the {kind} is older than what this device has seen: order {seal.version} of series {seal.series}, "
                f"after {downlink.order_of(kind)[1]} of series {downlink.order_of(kind)[0]}"
            )
        if not self._checks.room:
            self._waiting[kind] = name, payload
            return None
        self._checks.check(kind, name, bare, seal)
        self._last[kind] = digest
        if downlink.take_order(seal.order, kind):
            self._store.commit(self._agent.changes(), self._clock.monotonic_s())
        return bare
