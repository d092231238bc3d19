"""Follows the trials of a fleet's heads, beside server and devices: candidates, what was told, what came of it."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from aggregator.policy import HeadTrialPolicy
from aggregator.store.rows import EVERY_EPOCH, HEAD_TRIALS, QUARANTINED, HeadCandidateRow
from headway.maths import PAIRED_STEP, Head, PairedLoss
from headway.wire import PublishedHead, TrialReport
from headway_simulation.history import Violation
from headway_simulation.server_disk import ServerStore


@dataclass(slots=True)
class HeadTrials:
    """said: every report that a machine of a device has told, by device; proposed: candidates, by the bits of their
    head."""

    said: defaultdict[str, set[bytes]] = field(default_factory=lambda: defaultdict(set))
    proposed: defaultdict[bytes, list[HeadCandidateRow]] = field(default_factory=lambda: defaultdict(list))

    def told(self, device: str, payload: bytes) -> None:
        """A machine tells how a head does on its labels."""
        self.said[device].add(payload)

    def propose(self, row: HeadCandidateRow) -> None:
        """The server has this head tried."""
        self.proposed[bits_of(PublishedHead.decode(row.payload).head)].append(row)

    def heard(self, store: ServerStore) -> dict[str, bytes]:
        """What the server goes by when it judges a head, by device: who is set aside has no say. Raises Violation for
        a report that nobody told."""
        told = {row.device: row.payload for row in store.rows(HEAD_TRIALS).all()}
        for device, payload in told.items():
            if payload not in self.said[device]:
                raise Violation(f"the server holds a report of {device} that no machine of it has told")
        aside = {row.device for row in store.rows(QUARANTINED).where(epoch=EVERY_EPOCH)}
        return {device: payload for device, payload in told.items() if device not in aside}

    def check_published(self, head: PublishedHead, told: Mapping[str, bytes], policy: HeadTrialPolicy) -> None:
        """A head that everybody gets was tried, and is no worse on the labels of enough devices, by what they said.

        told: what the server went by when it published (`heard`). Raises Violation.
        """
        candidates = self.proposed.get(bits_of(head.head))
        if candidates is None:
            raise Violation(f"head {head.version} was published, and nobody had tried it")
        problems = [_problem(row, told, policy) for row in candidates]
        if all(problems):
            raise Violation(f"head {head.version} was published: {problems[-1]}")

    def check_told(
        self,
        what: str,
        row: HeadCandidateRow,
        told: Mapping[str, bytes],
        policy: HeadTrialPolicy,
        better: bool = False,
    ) -> None:
        """What was told of a head is enough for it: that it is no worse than what was published; better: that it is
        better by more than the margin. Raises Violation."""
        problem = _problem(row, told, policy, better)
        if problem:
            raise Violation(f"{what} was published: {problem}")


def _problem(row: HeadCandidateRow, told: Mapping[str, bytes], policy: HeadTrialPolicy, better: bool = False) -> str:
    """Why what was told of a candidate is not enough; empty when it is."""
    sha256, canaries = hashlib.sha256(row.payload).hexdigest(), row.canaries.split("\n")
    reports = [TrialReport.decode(told[device]) for device in canaries if device in told]
    reports = [report for report in reports if report.sha256 == sha256]
    every = [[report.frozen for report in reports], *([] if better else [[report.served for report in reports]])]
    for losses in every:
        if problem := _too_little(losses, policy, better):
            return problem
    return ""


def _too_little(losses: list[PairedLoss], policy: HeadTrialPolicy, better: bool) -> str:
    """Two means have to say it: of windows, where the quarter of the devices with most counts for as many as the next;
    and of devices, without the third at either end."""
    told = [(one.count, -one.total if better else one.total) for one in losses if one.count]
    counts = sorted((count for count, _ in told), reverse=True)
    most = counts[min(-(-len(counts) // 4), len(counts) - 1)] if counts else 0
    windows = sum(min(count, most) for count in counts)
    if windows < policy.windows_min or len(told) < policy.devices_min:
        return f"{windows} labels of {len(told)} devices had been compared"
    each = sorted(total / count for count, total in told)
    middle = each[len(each) // 3 : len(each) - len(each) // 3]
    of_windows = sum(min(1.0, most / count) * total for count, total in told) / windows
    for found in (of_windows * PAIRED_STEP, sum(middle) / len(middle) * PAIRED_STEP):
        if better and found <= policy.margin:
            return f"it is better by {found:+.4f} only, the margin is {policy.margin:g}"
        if not better and found > policy.margin:
            return f"it is worse by {found:+.4f}, the margin is {policy.margin:g}"
    return ""


def bits_of(head: Head) -> bytes:
    """What two heads have in common that are the same."""
    return head.kernel.tobytes() + head.bias.tobytes()
