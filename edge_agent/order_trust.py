"""Which orders (bundles, settings, commands) a device acts on: those that a key of its own file sealed, in their order.

Without keys it acts on all, as heads are believed (`edge_agent.head_trust`). Docs: docs/protocol.md, 4.32.
"""

from __future__ import annotations

import hashlib
import secrets

from edge_agent.agent import Agent
from edge_agent.config import AgentConfig
from edge_agent.seal_checks import FloodError, SealChecks, words
from edge_agent.seen_orders import read_seen, write_seen
from edge_agent.store import RetryingStore
from headway.errors import RemoteError
from headway.ports import Clock
from headway.wire import ORDERS, Address, Commands, Kind, Seal, parse_topic, without_order_seal

# of each kind; all of them are fewer than the checks of a minute
WAITING_MAX = 4


class OrderTrust:
    """Of one device. Raises ConfigError when made, for keys that cannot be read."""

    def __init__(self, config: AgentConfig, clock: Clock, agent: Agent, store: RetryingStore) -> None:
        self._fleet, self._device, self._state_dir = config.fleet, config.device, config.state_dir
        self._clock, self._agent, self._store = clock, agent, store
        self._checks = SealChecks.of(config.sync.head_keys, clock)
        # of each kind what was believed last: the same words in another message change nothing
        self._last: dict[Kind, bytes] = {}
        # of each kind some that came when too many had been checked
        self._waiting: dict[Kind, list[tuple[Seal, str, bytes]]] = {}
        newer = [agent.downlink.take_order(order, kind) for kind, order in self._seen().items()]
        if any(newer):
            store.commit(agent.changes(), clock.monotonic_s())

    def take_waiting(self) -> list[tuple[str, bytes]]:
        """Of each kind that waits the one with the highest number, each with its topic, once there is room again."""
        taken = []
        for kind in [kind for kind in self._waiting if self._checks.room()]:
            newest = self._agent.downlink.order_of(kind)
            # what is older by now was overtaken, and nobody needs to hear of it
            waiting = sorted(
                (one for one in self._waiting.pop(kind) if one[0].order > newest), key=lambda one: one[0].order
            )
            if waiting:
                taken.append(waiting.pop()[1:])
            if waiting:
                self._waiting[kind] = waiting
        return taken

    def opened(self, name: str, kind: Kind, payload: bytes) -> bytes | None:
        """An order without its seal, on which to act; None for one that says nothing, or has to wait. name: the topic.

        Raises RemoteError for what has no good seal for this device, and what is older than an order that had.
        """
        if not self._checks.demanding:
            return payload
        if parse_topic(name) != Address(self._fleet, self._device, kind):
            raise RemoteError(f"an order came under {name}, which is not for {self._device} of {self._fleet}")
        if not payload:
            return None  # the topic was cleared, which has no seal: nothing ends, and what was done is not forgotten
        bare, seal = without_order_seal(payload)
        if kind is Kind.COMMANDS and not self._checks.knows(seal) and not Commands.decode(payload).commands:
            return None  # from before the server had its key: it may be retained until there is another command
        if seal is None:
            raise RemoteError(
                f"the {words(kind)} has no seal, and [sync] head_keys demands one: set publish.signing_key, and update "
                "a server that seals heads alone"
            )
        self._checks.known(kind, seal)  # before anything waits: what names no key of ours takes no place
        digest, downlink = hashlib.sha256(bare).digest(), self._agent.downlink
        newest = downlink.order_of(kind)
        if self._last.get(kind) == digest and seal.order <= newest:
            return bare  # a higher number counts though the words are the same: what came between must not come back
        if seal.order < newest:
            raise RemoteError(
                f"the {words(kind)} is older than what this device has seen: order {seal.version} of series "
                f"{seal.series}, after {newest[1]} of series {newest[0]}"
            )
        if not self._checks.room(beside=sum(map(len, self._waiting.values()))):
            self._wait(kind, seal, name, payload)
            return None
        self._checks.check(kind, name, bare, seal)
        self._last[kind] = digest
        if downlink.take_order(seal.order, kind):
            self._store.commit(self._agent.changes(), self._clock.monotonic_s())
            write_seen(self._state_dir, {each: order for each in ORDERS if (order := downlink.order_of(each)) > (0, 0)})
        return bare

    def _seen(self) -> dict[Kind, tuple[int, int]]:
        """By this device, with whatever store."""
        return read_seen(self._state_dir) if self._checks.demanding else {}

    def _wait(self, kind: Kind, seal: Seal, name: str, payload: bytes) -> None:
        """The newest waits, and in a flood of forged ones any that came before may give way to it: nobody can tell
        which, so that who floods a device cannot choose. Raises FloodError where one gave way and some were forged;
        this one waits."""
        waiting = [one for one in self._waiting.get(kind, ()) if one[2] != payload]
        full = len(waiting) == WAITING_MAX
        if full:
            del waiting[secrets.randbelow(WAITING_MAX)]
        self._waiting[kind] = [*waiting, (seal, name, payload)]
        if full and self._checks.forged:
            raise FloodError(
                f"more orders come than seals can be checked, and {self._checks.forged} of them in a minute had forged "
                f"ones: {WAITING_MAX} {kind} wait, and others were given up, perhaps honest ones; somebody else "
                "publishes in the server's name on the broker"
            )
