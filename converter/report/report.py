"""Collects the findings of a conversion, as text for people and as values for the manifest."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path

from converter.proof import Proof
from headway.fields import JsonValue
from headway.maths import HeadKind

NAMED_CHARACTERS_MAX = 1 << 16  # of the columns of a table, all together, for a bundle to carry their names
MACHINE_FIGURES = ("latency_us",)  # differ from run to run, and a bundle's bytes must not


@dataclass(frozen=True, slots=True)
class Report:
    """Figures of one conversion. Parity is max |difference| over the features' own scale; accuracies are 0..1.

    samples: rows of the data; proof_rows: those of them that every backbone was compared on, on every runtime.
    input_shape: of a window; chosen: options that are not the default, in words; confusion: counts of the proof rows,
    a row for each class of the data, a column for each answer of the source, empty without one label a window.
    head_layer: of the model; empty where there is none and the head was solved from the data.
    labels: what y was taken for; notes: what looks wrong about data and model together (converter/findings.py).
    kind: of the head, which says what the accuracies are; columns: of a table, the names of x;
    stride: of windows cut from one, rows from the beginning of one to that of the next.
    """

    bundle: Path
    bundle_bytes: int
    samples: int
    classes: tuple[str, ...]
    head_layer: str
    embedding_size: int
    feature_count: int
    source_accuracy: float
    exact_accuracy: float
    proofs: tuple[Proof, ...]
    left_out: tuple[str, ...]
    expansion: str = ""
    reduction: str = ""
    proof_rows: int = 0
    difference_max: float = 1e-5
    labels: str = ""
    notes: tuple[str, ...] = ()
    input_shape: tuple[int, ...] = ()
    chosen: tuple[str, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()
    kind: HeadKind = HeadKind.SOFTMAX
    columns: tuple[str, ...] = ()
    label_columns: tuple[str, ...] = ()
    text_column: str = ""
    stride: int = 0

    @property
    def verdict(self) -> str:
        """What to make of it, in words."""
        passed = [f"{p.engine} {p.precision} on {p.runtime}" for p in self.proofs if not p.refused]
        warnings = sum(note.startswith("warning") for note in self.notes)
        told = f"the device answers as the model does: {', '.join(passed)}"
        if not self.head_layer:
            told = "no network: the device makes the same codes, to the bit, and needs no inference runtime"
        if self.left_out:
            told += f"; left out: {len(self.left_out)} of what was asked for"
        if warnings:
            told += f"; {warnings} warning{'s' if warnings > 1 else ''} about model and data: see the notes first"
        return told

    def per_class(self) -> list[tuple[str, int, float, float]]:
        """Name, windows, recall and precision (0..1, NaN without any) of each class: the source on the proof rows."""
        answered = [sum(column) for column in zip(*self.confusion, strict=True)]
        return [
            (name, sum(row), _share(row[index], sum(row)), _share(row[index], answered[index]))
            for index, (name, row) in enumerate(zip(self.classes, self.confusion, strict=True))
        ]

    @property
    def feature_parity(self) -> float:
        """Of the most exact backbone, the worst over the runtimes it ran on."""
        return max(p.parity for p in self._first())

    @property
    def probability_parity(self) -> float:
        """As `feature_parity`, of the outputs."""
        return max(p.probability_parity for p in self._first())

    @property
    def _measure(self) -> str:
        """What `source_accuracy` is, where it is not the share of windows that are right."""
        if self.confusion:
            return ""
        return {HeadKind.SIGMOID: "share of labels right ", HeadKind.LINEAR: "R2 "}.get(self.kind, "")

    def _first(self) -> list[Proof]:
        passed = [p for p in self.proofs if not p.refused]
        return [p for p in passed if (p.engine, p.precision) == (passed[0].engine, passed[0].precision)]

    def lines(self) -> list[str]:
        """A table for the terminal."""
        classes = f"{len(self.classes)} class{'es' if len(self.classes) > 1 else ''}"
        summary = {
            "bundle": f"{self.bundle} ({self.bundle_bytes:,} bytes)",
            "head": (f"layer {self.head_layer!r}" if self.head_layer else "solved from the data, no network")
            + f", {classes}, {self.embedding_size}-d embedding, {self.feature_count} features",
            "parity": f"features {self.feature_parity:.1e} of their scale, probabilities {self.probability_parity:.1e}",
            "accuracy": f"{self._measure}{self.source_accuracy:.3f} as {'trained' if self.head_layer else 'solved'}"
            + (f", {self.exact_accuracy:.3f} solved from its statistics" if self.exact_accuracy else "")
            + f" (on the {self.samples} given windows; proofs on {self.proof_rows} of them)",
        }
        if self.labels:
            summary["labels"] = self.labels
        if any(p.source_rounding for p in self._first()):
            exact, own = (max(getattr(p, name) for p in self._first()) for name in ("exact_parity", "source_rounding"))
            summary["rounding"] = (
                f"from the same model in float64 the backbone is {exact:.1e}, the source itself {own:.1e}"
            )
        if self.reduction:
            summary["reduction"] = self.reduction
        if self.expansion:
            summary["expansion"] = self.expansion
        lines = [f"  {name:<11}{text}" for name, text in summary.items()]
        lines += [
            "",
            f"  {'backbone':<17}{'runtime':<24}{'KB':>8}{'us':>9}{'parity':>9}{'agree':>9}{'mixed':>9}{'score':>8}",
        ]
        for p in self.proofs:
            left = f"  {p.engine + ' ' + p.precision:<17}{p.runtime + ' ' + p.version:<24}"
            if p.measured:
                left += f"{p.payload_bytes / 1e3:>8.1f}{p.latency_us:>9.1f}{p.parity:>9.1e}"
                left += f"{100 * p.agreement:>8.2f}%{_percent(p.mixed_agreement):>9}{p.score:>8.3f}"
            lines.append(left + ("  refused" if p.refused else ""))
        reasons = [f"{p.engine} {p.precision} {p.refused}" for p in self.proofs if p.refused]
        reasons += [
            reason for reason in self.left_out if not any(p.refused and p.refused in reason for p in self.proofs)
        ]
        lines += [f"  refused  {reason}" for reason in dict.fromkeys(reasons)]
        return [*lines, *(f"  note     {note}" for note in self.notes), f"  verdict  {self.verdict}"]

    def as_json(self) -> dict[str, JsonValue]:
        """For programs: all figures, those of this machine too, and what was said."""
        return {
            **self.figures(),
            "bundle": str(self.bundle),
            "bundle_bytes": self.bundle_bytes,
            "classes": list(self.classes),
            "embedding_size": self.embedding_size,
            "feature_count": self.feature_count,
            "feature_parity": self.feature_parity,
            "probability_parity": self.probability_parity,
            "input_shape": list(self.input_shape),
            "chosen": list(self.chosen),
            "confusion": [list(row) for row in self.confusion],
            "verdict": self.verdict,
            "labels": self.labels,
            "notes": list(self.notes),
            "proofs": [dict(asdict(proof)) for proof in self.proofs],
        }

    def figures(self) -> dict[str, JsonValue]:
        """The same as JSON, without what differs from run to run."""
        proofs: list[JsonValue] = [
            {
                name: float(f"{value:.2g}")
                if "parity" in name or name == "source_rounding"
                else round(value, 6)
                if type(value) is float
                else value
                for name, value in asdict(proof).items()
                if name not in MACHINE_FIGURES
            }
            for proof in self.proofs
        ]
        named = {"columns": self.columns, "label_columns": self.label_columns}
        return {
            "samples": self.samples,
            "proof_rows": self.proof_rows,
            "difference_max": self.difference_max,
            "head_layer": self.head_layer,
            "source_accuracy": round(self.source_accuracy, 6),
            "exact_accuracy": round(self.exact_accuracy, 6),
            "expansion": self.expansion,
            "reduction": self.reduction,
            "proofs": proofs,
            "left_out": list(self.left_out),
            **({"stride": self.stride} if self.stride else {}),
            **{
                name: list(columns)
                for name, columns in named.items()
                if 0 < sum(map(len, columns)) <= NAMED_CHARACTERS_MAX
            },
            **({"text_column": self.text_column} if self.text_column else {}),
        }


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f}%"
