"""Takes devices out of the fleet, or sets them back to a mark, and leaves a record of it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from aggregator.audit import local_user
from aggregator.effects import Effect, Instant, Note, Recorded
from aggregator.heads import Spaces, stored_report
from aggregator.held_heads import held_version
from aggregator.policy import Method, Policy
from aggregator.removals.marking import forget_marks, kept_before
from aggregator.removals.records import ForgottenEpoch, RemovalRecord, add_record
from aggregator.removals.renewing import ask_to_renew
from aggregator.store import Store, StoredStatistics
from aggregator.store.rows import FORGET_REQUESTS, TOLD_PRIORS, ToldPriorRow
from headway.private_keys import Signer
from headway.wire import tables_sha256


class Removals:
    """Of one fleet. Every method must run inside a transaction of the store. signer: signs records; None does not."""

    def __init__(self, fleet: str, store: Store, spaces: Spaces, policy: Policy, signer: Signer | None) -> None:
        self._fleet, self._store, self._spaces, self._policy, self._signer = fleet, store, spaces, policy, signer

    def told(self, device: str, space: str, now: Instant) -> None:
        """A device is told what the others have learned."""
        self._store.rows(TOLD_PRIORS).put(ToldPriorRow(device, space, now.wall_s))

    def remove(self, device: str, now: Instant) -> list[Effect]:
        """All that a device contributed, and the device with it."""
        rows = self._stored(device)
        epochs = [*(_forgotten(row, None) for row in rows), *self._updating(device, rows)]
        averaged = self._averaged(device)
        asked = self._store.rows(FORGET_REQUESTS).get(device)
        self._spaces.remove(device)
        return self._record(device, "" if asked is None else asked.who, 0.0, epochs, averaged, now)

    def set_back(self, device: str, since_s: float, who: str, now: Instant) -> list[Effect]:
        """What a device reported since its newest mark before `since_s`; the device stays in the fleet."""
        rows = self._stored(device)
        kept: list[StoredStatistics] = []
        epochs: list[ForgottenEpoch] = []
        for row in rows:
            mark = kept_before(self._store, row, since_s)
            back = None
            if mark is not None and mark.payload and mark.space == row.space:
                back = StoredStatistics(device, row.epoch, mark.counter, mark.space, mark.payload)
            epochs.append(_forgotten(row, back, 0.0 if mark is None else mark.at_s))
            kept += [] if back is None else [back]
        epochs += self._updating(device, rows)
        averaged = self._averaged(device)
        self._spaces.set_back(device, kept)
        forget_marks(self._store, device, since_s)
        self._store.rows(FORGET_REQUESTS).remove(device)
        return self._record(device, who, since_s, epochs, averaged, now)

    def _stored(self, device: str) -> list[StoredStatistics]:
        return [row for space in self._store.spaces() for row in self._store.every_statistics(space, device)]

    def _updating(self, device: str, rows: Sequence[StoredStatistics]) -> list[ForgottenEpoch]:
        """Epochs of which only updates came: those that wait for a round go, and no more of them are taken."""
        others = sorted({*self._store.epochs(device)} - {row.epoch for row in rows})
        return [ForgottenEpoch(epoch, "", 0, 0, 0, 0, 0.0) for epoch in others]

    def _averaged(self, device: str) -> bool:
        """Whether updates of a device may be in averaged heads."""
        known = self._store.device(device)
        return self._policy.method is Method.AVERAGE and known is not None and known.sequence > 0

    def _record(
        self, device: str, who: str, since_s: float, epochs: Sequence[ForgottenEpoch], averaged: bool, now: Instant
    ) -> list[Effect]:
        spaces = sorted({epoch.space for epoch in epochs if epoch.samples != epoch.kept_samples})
        renewed, not_renewed = ask_to_renew(self._store, device, spaces, now.wall_s)
        sums = {space: tables_sha256(self._spaces.of(space).heads.sum.total) for space in spaces}
        record = RemovalRecord(
            0, self._fleet, device, who or local_user(), now.wall_s, since_s, tuple(epochs), sums,
            self._heads(spaces), renewed, not_renewed, averaged,
        )  # fmt: skip
        row = add_record(self._store, record, self._signer)
        samples = sum(epoch.samples - epoch.kept_samples for epoch in epochs)
        held = [version for space in spaces if (version := held_version(self._store, space))]
        kept = f"head {held[0] if held else 0} is held and may have been made with {device}: edge-fleet heads --let-go"
        return [
            Recorded(row),
            *([Note(kept, warning=True)] if held else []),
            Note(f"removal {row.number}: {samples} samples subtracted of {device}; {_told(renewed, not_renewed)}"),
        ]

    def _heads(self, spaces: Sequence[str]) -> dict[str, str]:
        # with noise nobody can tell beforehand which head follows
        if self._policy.method is not Method.EXACT or self._policy.privacy.wanted:
            return {}
        found = {}
        for space in spaces:
            try:
                head = self._spaces.of(space).heads.sum.head()
            except np.linalg.LinAlgError:
                continue  # nobody gets a head then, either
            content = b"".join(name.encode() + b"\0" for name in head.classes)
            found[space] = hashlib.sha256(content + head.kernel.tobytes() + head.bias.tobytes()).hexdigest()
        return found


def _forgotten(row: StoredStatistics, kept: StoredStatistics | None, mark_s: float = 0.0) -> ForgottenEpoch:
    return ForgottenEpoch(
        row.epoch, row.space, row.counter, _samples(row), 0 if kept is None else kept.counter,
        0 if kept is None else _samples(kept), mark_s,
    )  # fmt: skip


def _samples(row: StoredStatistics) -> int:
    report = stored_report(row)
    return 0 if report is None else report.statistics.samples


def _told(renewed: Sequence[str], not_renewed: Sequence[str]) -> str:
    text = f"{len(renewed)} devices are asked to drop what they started from"
    return text + (f", {len(not_renewed)} cannot be asked: {', '.join(not_renewed[:5])}" if not_renewed else "")
