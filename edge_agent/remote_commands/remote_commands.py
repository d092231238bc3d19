"""Does the commands that the aggregator lists, in turn, and tells what became of them until it has heard.

    listed -> known already? -> past its deadline? -> done -> effect and result in one commit -> told

A command is named by its id: as often as it comes, it is done once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from edge_agent.agent import Agent
from edge_agent.remote_commands.actions import Actions
from edge_agent.store import RetryingStore
from headway.errors import DataError, StoreError
from headway.fields import canonical_json
from headway.ports import Clock
from headway.wire import DETAIL_BYTES_MAX, DONE, EXPIRED, FAILED, Command, CommandResult, CommandResults, Commands, Kind

log = logging.getLogger("edge-agent")

PROBLEM_CHARACTERS_MAX = 400


class RemoteCommands:
    """Of one device. publish: sends a message, None without a connection; resend_s: seconds to wait for an answer."""

    def __init__(
        self,
        clock: Clock,
        agent: Agent,
        store: RetryingStore,
        actions: Actions,
        publish: Callable[[Kind, bytes], int | None],
        resend_s: float,
    ) -> None:
        self._clock, self._agent, self._store = clock, agent, store
        self._actions, self._publish, self._resend_s = actions, publish, resend_s
        self._listed: tuple[Command, ...] = ()
        self._told = b""
        self._told_ids: frozenset[str] = frozenset()
        self._told_at_s = float("-inf")
        self.restart = False

    def receive(self, payload: bytes) -> None:
        """All commands whose results the aggregator does not have; empty: none. Raises RemoteError."""
        self._listed = Commands.decode(payload).commands if payload else ()
        self._agent.command_log.keep({command.id for command in self._listed}, self._told_ids)

    def reconnected(self) -> None:
        """What was in flight may be lost."""
        self._told, self._told_ids = b"", frozenset()

    def turn(self, connected: bool, on_trial: bool) -> None:
        """Do what is listed, tell what came of it. on_trial: a new bundle, or settings, which a restart would end."""
        for command in self._listed:
            if self._store.degraded or self.restart:
                return  # what cannot be saved is not begun, and what is not saved is not told
            if command.id not in self._agent.command_log and not (on_trial and command.name == "restart"):
                self._do(command)
        if connected and not self._store.degraded:
            self._tell()
        self.restart = self._actions.restart and not self._store.degraded

    def _do(self, command: Command) -> None:
        wall_s = self._clock.wall_s()
        done = self._actions.done_before(command)
        if done is not None:
            result = CommandResult(command.id, DONE, done, wall_s)
        elif wall_s >= command.deadline_s:
            result = CommandResult(command.id, EXPIRED, self._actions.obstacle(command), wall_s)
        else:
            try:
                # a gradient learner asks for room in the outbox before it learns a label
                self._agent.outbox.note_stored(*self._store.outbox_size())
                detail = self._actions.do(command)
            except StoreError as error:
                self._store.failed(error, self._clock.monotonic_s())
                return
            except DataError as error:
                problem = str(error)[:PROBLEM_CHARACTERS_MAX]
                result = CommandResult(command.id, FAILED, {"problem": problem}, wall_s)
            else:
                if detail is None:
                    return
                if len(canonical_json(detail)) > DETAIL_BYTES_MAX:
                    detail = {"problem": f"what came of it has more than {DETAIL_BYTES_MAX} bytes, and is not sent"}
                result = CommandResult(command.id, DONE, detail, wall_s)
        self._agent.command_log.add(result)
        self._store.commit(self._agent.changes(), self._clock.monotonic_s())
        log.info("command %s from afar: %s", command.name, result.state)

    def _tell(self) -> None:
        now_s, results = self._clock.monotonic_s(), self._agent.command_log.results
        unanswered = results and now_s - self._told_at_s >= self._resend_s
        message = CommandResults(self._actions.names, results).encode()
        if (message != self._told or unanswered) and self._publish(Kind.COMMAND_RESULTS, message) is not None:
            self._told, self._told_at_s = message, now_s
            self._told_ids |= {result.id for result in results}
