"""Follows the trials of a fleet's heads, beside server and devices: candidates, what was told, what came of it."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from aggregator.policy import HeadTrialPolicy
from aggregator.store.rows import HeadCandidateRow
from headway.maths import PAIRED_STEP, Head, PairedLoss
from headway.wire import PublishedHead, TrialReport
from headway_simulation.history import Violation


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

    def check_published(self, head: PublishedHead, told: Mapping[str, bytes], policy: HeadTrialPolicy) -> None:
        """A head that everybody gets was tried, and is no worse on the labels of enough devices, by what they said.

        told: reports that the server had when it published, by device. Raises Violation.
        """
        self._check_said(told)
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
        self._check_said(told)
        problem = _problem(row, told, policy, better)
        if problem:
            raise Violation(f"{what} was published: {problem}")

    def _check_said(self, told: Mapping[str, bytes]) -> None:
        for device, payload in told.items():
            if payload not in self.said[device]:
                raise Violation(f"the server holds a report of {device} that no machine of it has told")


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
    labelled = sorted((one for one in losses if one.count), key=lambda one: one.count)
    # the quarter of the devices with most windows counts for no more than the next of them
    alike = labelled[: len(labelled) - -(-len(labelled) // 4)] or labelled[:1]
    counted = [min(one.count, alike[-1].count) for one in labelled]
    windows, devices = sum(counted), len(labelled)
    if windows < policy.windows_min or devices < policy.devices_min:
        return f"{windows} labels of {devices} devices had been compared"
    means = (one.total / one.count for one in labelled)
    mean = sum(count * mean for count, mean in zip(counted, means, strict=True)) / windows * PAIRED_STEP
    if better:
        return "" if -mean > policy.margin else f"it is better by {-mean:+.4f} only, the margin is {policy.margin:g}"
    return f"it is worse by {mean:+.4f}, the margin is {policy.margin:g}" if mean > policy.margin else ""


def bits_of(head: Head) -> bytes:
    """What two heads have in common that are the same."""
    return head.kernel.tobytes() + head.bias.tobytes()
