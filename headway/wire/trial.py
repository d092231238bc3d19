"""Codec of the message by which a device tells how a bundle on trial does on its own labels. protocol.md, 4.14."""

from __future__ import annotations

from dataclasses import dataclass

from headway.errors import RemoteError
from headway.fields import Fields, canonical_json
from headway.maths import PairedLoss
from headway.printable import is_printable
from headway.wire.codec import SCHEMA, finished, json_fields

TRIAL_STATES = ("none", "running", "failed")
LATENCY_MS_MAX = 1e7
PROBLEM_LENGTH_MAX = 300
NOTHING = PairedLoss()


@dataclass(frozen=True, slots=True)
class TrialReport:
    """How a bundle does beside the one that serves, since the trial began: a later message replaces an earlier one.

    sha256: of the bundle's file; empty with state ``none``, by which a device says that it can try bundles.
    counter: grows with every change. windows: labelled ones that both bundles predicted. frozen: losses of the frozen
    heads; served: of what each bundle would have served, the new one after it learned the windows before. latency_..:
    of one window, by the old and by the new bundle, 0 where it was not measured. problem: why it failed.
    """

    sha256: str
    counter: int
    state: str
    frozen: PairedLoss = NOTHING
    served: PairedLoss = NOTHING
    latency_old_ms: float = 0.0
    latency_new_ms: float = 0.0
    problem: str = ""

    def encode(self) -> bytes:
        return canonical_json(
            {
                "schema": SCHEMA,
                "sha256": self.sha256,
                "counter": self.counter,
                "state": self.state,
                "frozen": _table(self.frozen),
                "served": _table(self.served),
                "latency_old_ms": self.latency_old_ms,
                "latency_new_ms": self.latency_new_ms,
                "problem": self.problem,
            }
        )

    @classmethod
    def decode(cls, payload: bytes) -> TrialReport:
        """Raises RemoteError on anything that no trial can have told."""
        fields = json_fields(payload, "trial")
        sha256 = fields.text("sha256", length_max=64)
        report = cls(
            sha256,
            fields.integer("counter"),
            fields.choice("state", TRIAL_STATES),
            _sums(fields, "frozen"),
            _sums(fields, "served"),
            fields.number("latency_old_ms", low=0.0, high=LATENCY_MS_MAX),
            fields.number("latency_new_ms", low=0.0, high=LATENCY_MS_MAX),
            fields.text("problem", length_max=PROBLEM_LENGTH_MAX),
        )
        named = len(sha256) == 64 and set(sha256) <= set("0123456789abcdef")
        if named == (report.state == "none") or (sha256 and not named):
            raise RemoteError(f"trial in state {report.state} names bundle {sha256[:80]!r}")
        if not is_printable(report.problem):
            raise RemoteError("problem of trial holds control characters")
        return finished(fields, report)


def _table(sums: PairedLoss) -> dict[str, int]:
    return {"count": sums.count, "total": sums.total, "squares": sums.squares}


def _sums(fields: Fields, key: str) -> PairedLoss:
    table = fields.table(key)
    sums = PairedLoss(table.integer("count"), table.integer("total", low=-(1 << 53)), table.integer("squares"))
    table.finish()
    problem = sums.inconsistency()
    if problem:
        raise RemoteError(f"{key} of trial: {problem}")
    return sums
