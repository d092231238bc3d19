"""Gathers gradient updates and makes a head of each round of them, by the fleet's strategy.

Updates wait in the store, so a round may end long after the devices that it began with have gone: buffered rounds
(FedBuff, Nguyen et al., AISTATS 2022), in which an update that began at an older head counts less.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from aggregator.effects import Effect, Instant, Note, Refused
from aggregator.engine import Engine, LocalEngine
from aggregator.heads.agreement import Compared, robust_mean
from aggregator.heads.averaging import mean_of, moved, weights_of
from aggregator.heads.fleet_model import FleetModel
from aggregator.heads.privacy_budget import PrivacyBudget
from aggregator.heads.private_rounds import PrivateRounds
from aggregator.heads.server_optimizers import Memory, step
from aggregator.heads.update_review import UpdateReview
from aggregator.heads.waiting_updates import WaitingUpdates
from aggregator.held_heads import read_head
from aggregator.policy import Method, Policy, Robust, Strategy
from aggregator.store import Store, StoredHead
from aggregator.store.rows import AVERAGING, AveragingRow
from headway.bundle import head_over_codes, weights_over_unit_codes
from headway.errors import LocalError, RemoteError, StoreError
from headway.maths import Head
from headway.wire import Update

AVERAGED_SAMPLES = "averaged_samples"


@dataclass(frozen=True, slots=True)
class Round:
    """What a round came to. memory: of the server's optimiser, if this head is published. With noise, devices is 0 and
    samples their number with noise."""

    head: Head
    devices: int
    samples: int
    memory: Memory


class Rounds:
    """The buffered rounds of one feature space. Every method must run inside a transaction of the store.

    budget: of noise on each round, see `aggregator.heads.noisy_rounds`.
    held: the devices that are set aside, each with whether it contradicted the others: then its updates are taken in
    nowhere, and only compared with theirs; of those that an operator set aside they go on waiting.
    """

    def __init__(
        self,
        model: FleetModel,
        policy: Policy,
        store: Store,
        budget: PrivacyBudget,
        held: Callable[[], Mapping[str, bool]],
        engine: Engine | None = None,
    ) -> None:
        self._model, self._policy, self._store, self._held = model, policy, store, held
        self._budget, self._private = budget, PrivateRounds(store, model.space, policy.averaging, budget)
        self._engine = LocalEngine() if engine is None else engine
        self._updates = WaitingUpdates(
            store, model.start, model.space, policy.averaging, heads_kept_max=policy.limits.heads_kept_max
        )
        # known devices, None where that is to be asked
        self._devices: int | None = None
        self._since_s: float | None = None
        self._review = UpdateReview(store, policy.limits.events_max)

    def check(self, update: Update, version: int) -> None:
        """Raises Refused for an update that no round can take in. version: the newest head's."""
        model = self._model
        shape = (len(model.classes), len(model.start.kernel) + 1)
        if self._policy.method is not Method.AVERAGE:
            raise Refused("unused", "gradient updates have no place in a fleet with method = exact")
        if update.space != model.space:
            raise Refused("space", f"feature space {update.space[:12]} is not the bundle's, {model.space[:12]}")
        if update.classes != model.classes or update.delta.shape != shape:
            raise Refused("shape", f"update of shape {update.delta.shape}; the bundle's head and classes need {shape}")
        if update.base_version > version:
            raise Refused("future", f"update starts from head {update.base_version}, which was never published")

    def stored(self, update: Update, version: int) -> None:
        """A gradient update was stored, and waits. version: the newest head's."""
        self._updates.add(update, version)
        self._devices = None

    def left(self, device: str) -> None:
        """The device is out of the store."""
        self._updates.left(device)
        self._devices = None
        self._review.left(device)

    def read_some(self, version: int) -> None:
        """Some of what was stored before a restart: now and then, so that the next round need not. version: the newest
        head's."""
        if self._policy.method is Method.AVERAGE:
            self._updates.read_some(version, self._held().keys())

    @property
    def waiting(self) -> int:
        """How many devices have updates that the next round takes in."""
        devices = self._updates.devices
        return len(devices) - sum(device in devices for device in self._held())

    def due(self, now: Instant) -> bool:
        """Whether a round is complete, or has waited for long enough; with noise, complete and paid for."""
        return self._complete(now) and self._budget.due(False, now)

    def has_news(self, now: Instant) -> bool:
        """Whether something waits of which a head may be made now."""
        return self.due(now) if self._budget.wanted else self.waiting > 0

    def _complete(self, now: Instant) -> bool:
        waiting = self.waiting
        if waiting and self._since_s is None:
            self._since_s = now.monotonic_s
        policy = self._policy.averaging
        overdue = self._since_s is not None and now.monotonic_s - self._since_s >= policy.round_s
        if self._budget.wanted:
            overdue = False  # few devices are nothing but noise, and cost as much as many
        # a fleet that is smaller than a round need not wait for devices that do not exist; for a second one it waits
        if waiting >= policy.updates_min or (bool(waiting) and overdue):
            return True
        if self._devices is None:
            self._devices = self._store.device_count()
        return waiting >= max(2, self._devices, len(self._updates.devices))

    def close(self, version: int, wall_s: float) -> tuple[Round | None, list[Effect]]:
        """One round over every update that waits; this transaction takes them in, so none counts twice."""
        refusal = self._budget.refusal() if self._budget.wanted else None
        if refusal is not None:
            return None, [refusal]
        base, based_on, notes = self._last_average()
        policy, aside = self._policy.averaging, self._held()
        held = frozenset(aside)
        # what those who contradicted the others go on sending never piles up
        stay = frozenset(device for device, contradicts in aside.items() if not contradicts)
        robust = policy.robust is not Robust.NONE
        contributions = self._updates.gather(version, held, policy.round_devices_max if robust else None)
        private = self._budget.wanted
        policy = self._private.policy if private else policy
        worth = weights_of(contributions, policy, measured=not private)
        devices, samples = len(worth.samples), sum(worth.samples)
        notes += [Note(f"left out of the average: {problem}", warning=True) for problem in contributions.unusable]
        start = weights_over_unit_codes(base, self._model.scale)
        self._since_s = None
        if not worth.samples:
            self._take_in(stay | contributions.rest)
            return None, notes
        memory = self._memory(based_on, start.size)
        try:
            with np.errstate(over="ignore", invalid="ignore"):  # told by what comes of it
                if private:
                    mean, samples, said = self._private.change(contributions, worth, version, wall_s)
                    devices, notes = 0, [*notes, *said]
                elif robust and len(worth.samples) >= policy.robust_devices_min:
                    looks = self._policy.outliers.devices_min > 0
                    compares = looks or policy.robust is Robust.ALIGNED
                    compared = Compared.of(contributions, worth, policy.malicious_share) if compares else None
                    mean = robust_mean(contributions, worth, policy, self._engine, compared)
                    if compared is not None and looks:
                        theirs = self._updates.contributions(version, sorted(held - stay))
                        notes += self._review.look(contributions.devices, compared, mean, theirs, wall_s)
                else:
                    mean = mean_of(contributions, worth)
                memory, change = step(memory, mean.ravel(), policy)
                weights = moved(start, change)
                head = head_over_codes(weights, base.classes, self._model.task.link, self._model.scale)
        except LocalError as error:
            return None, [*notes, Note(f"no new head of the updates that wait: {error}", warning=True)]
        self._take_in(stay | contributions.rest)
        self._store.put_number(AVERAGED_SAMPLES, self._store.number(AVERAGED_SAMPLES) + worth.claimed)
        return Round(head, devices, samples, memory), notes

    def published(self, made: Round, version: int) -> None:
        """The head of a round is published under this version: the next round goes on from it, memory and all."""
        if self._policy.averaging.strategy is not Strategy.FEDAVG:
            strategy = str(self._policy.averaging.strategy)
            row = AveragingRow(self._model.space, strategy, version, made.memory.encode())
            self._store.rows(AVERAGING).put(row)

    def _memory(self, based_on: int, size: int) -> Memory:
        """Of the optimiser, if it led to the head that this round goes on from; else none."""
        if self._policy.averaging.strategy is Strategy.FEDAVG:
            return Memory.none(0)
        row = self._store.rows(AVERAGING).get(self._model.space)
        strategy = str(self._policy.averaging.strategy)
        if row is None or (row.strategy, row.version) != (strategy, based_on):
            return Memory.none(size)
        try:
            return Memory.decode(row.memory, size)
        except StoreError:
            # of a bundle with other classes in the same feature space, from which averaging has begun anew
            return Memory.none(size)

    def _last_average(self) -> tuple[Head, int, list[Effect]]:
        """Where the next round begins, and its version: the newest stored average that can be read, else the bundle's
        head."""
        notes: list[Effect] = []
        model = self._model
        for row in self._stored_averages():
            try:
                head = read_head(row.payload).head
            except RemoteError as error:
                notes.append(Note(f"stored head {row.version} cannot be read, the one before is taken: {error}", True))
                continue
            if (head.classes, head.kernel.shape) == (model.start.classes, model.start.kernel.shape):
                return head, row.version, notes
            notes.append(Note("the bundle has other classes than the last average; averaging begins anew", True))
            break
        return model.start, 0, notes

    def _stored_averages(self) -> Iterator[StoredHead]:
        """Newest first; all but the newest are read where that is of no use."""
        newest = self._store.head(self._model.space, Method.AVERAGE)
        if newest is not None:
            yield newest
            yield from self._store.heads(self._model.space, Method.AVERAGE)[1:]

    def _take_in(self, rest: frozenset[str]) -> None:
        """No update waits any more, but for those of devices that are set aside or had no place."""
        self._store.remove_updates(self._model.space, rest)
        self._updates.taken_in(rest)
