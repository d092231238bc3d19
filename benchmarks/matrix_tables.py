"""The cells of the conversion matrix, and the tables made of them (Markdown)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from benchmarks.judging import Verdict

OURS = "edge-convert"
AGENT = "agent's choice"
AGENT_FASTEST = "agent's fastest"


class Outcome(StrEnum):
    """RAN: the first form did; REEXPORTED: a later form did. LEFT_OUT: not meant for that runtime, with the reason.

    REFUSED: a peer's converter said no. CANNOT_RUN: a peer wrote a file that the runtime refuses.
    SILENT: written and listed, and yet it does not run there or does not match.
    """

    RAN = "ran"
    REEXPORTED = "re-exported"
    LEFT_OUT = "left out"
    REFUSED = "refused"
    CANNOT_RUN = "cannot run"
    SILENT = "SILENT"


MATCHES = (Outcome.RAN, Outcome.REEXPORTED)


@dataclass(frozen=True, slots=True)
class Cell:
    """One shape in one form on one runtime. tool: OURS, AGENT or a peer's name; note: form, reason or fault."""

    shape: str
    tool: str
    variant: str
    runtime: str
    outcome: Outcome
    note: str
    verdict: Verdict

    @property
    def is_ours(self) -> bool:
        return self.tool in (OURS, AGENT, AGENT_FASTEST)


def tables(cells: Sequence[Cell]) -> str:
    """Everything that is published of a run."""
    ours = [cell for cell in cells if cell.tool == OURS]
    parts = [
        _summary(ours),
        _shapes(ours),
        "Left out:\n\n" + _reasons(ours, (Outcome.LEFT_OUT,)),
        _chosen([cell for cell in cells if cell.tool in (AGENT, AGENT_FASTEST)]),
        _peers([cell for cell in cells if not cell.is_ours]),
        "Why the peers' files fail:\n\n"
        + _reasons([c for c in cells if not c.is_ours], (Outcome.REFUSED, Outcome.CANNOT_RUN, Outcome.SILENT)),
    ]
    return "\n\n".join(parts)


def _summary(cells: Sequence[Cell]) -> str:
    rows = []
    for group in _grouped(cells, lambda cell: (cell.variant, cell.runtime)):
        variant, runtime = group[0].variant, group[0].runtime
        good = [cell.verdict for cell in group if cell.outcome in MATCHES]
        counts = [str(_count(group, outcome)) for outcome in (*MATCHES, Outcome.LEFT_OUT, Outcome.SILENT)]
        worst = [
            f"{max((v.parity for v in good), default=0):.1e}",
            f"{max((v.output_parity for v in good), default=0):.1e}",
            f"{100 * min((v.agreement for v in good), default=1):.1f} %",
            f"{max((v.drop_points for v in good), default=0):.2f}",
        ]
        rows.append([variant, runtime, *counts, *worst])
    heads = ["variant", "runtime", "ran", "re-exported", "left out", "silent failures", "worst feature parity"]
    return _markdown([*heads, "worst output parity", "lowest agreement", "largest drop, points"], rows)


def _shapes(cells: Sequence[Cell]) -> str:
    pairs = list(dict.fromkeys((cell.variant, cell.runtime) for cell in cells))
    rows = []
    for group in _grouped(cells, lambda cell: (cell.shape,)):
        found = {(cell.variant, cell.runtime): cell for cell in group}
        worst = max(c.verdict.output_parity for c in group if c.variant.endswith("float32"))
        exact = max(c.verdict.exact_parity for c in group if c.variant.endswith("float32"))
        rounding = max(cell.verdict.rounding for cell in group)
        outcomes = [str(found[pair].outcome) for pair in pairs]
        rows.append([group[0].shape, f"{worst:.1e}", f"{exact:.1e}", f"{rounding:.1e}", *outcomes])
    return _markdown(
        [
            "shape",
            "float32 output parity",
            "of it from float64",
            "of Keras itself from float64",
            *(f"{variant}, {runtime}" for variant, runtime in pairs),
        ],
        rows,
    )


def _chosen(cells: Sequence[Cell]) -> str:
    rows = []
    for group in _grouped(cells, lambda cell: (cell.shape, cell.runtime)):
        found = {cell.tool: f"{cell.variant or 'nothing'} ({cell.note or cell.outcome})" for cell in group}
        rows.append([group[0].shape, group[0].runtime, found[AGENT], found[AGENT_FASTEST]])
    return _markdown(["shape", "device with", "the agent runs", "where it times them"], rows)


def _peers(cells: Sequence[Cell]) -> str:
    rows = []
    for group in _grouped(cells, lambda cell: (cell.tool, cell.variant, cell.runtime)):
        first = group[0]
        outcomes = (Outcome.RAN, Outcome.REFUSED, Outcome.CANNOT_RUN, Outcome.SILENT)
        counts = [str(_count(group, outcome)) for outcome in outcomes]
        flex = sum("needs Flex" in cell.note for cell in group)
        rows.append([first.tool, first.variant, first.runtime, *counts, str(flex)])
    heads = ["peer", "variant", "runtime", "runs and matches", "conversion refused", "written, cannot run there"]
    return _markdown([*heads, "runs, but wrong", "of all, with Flex operators"], rows)


def _reasons(cells: Sequence[Cell], outcomes: Iterable[Outcome]) -> str:
    wanted = [cell for cell in cells if cell.outcome in tuple(outcomes)]
    lines = [f"- {cell.shape}, {cell.tool} {cell.variant} on {cell.runtime}: {cell.note}" for cell in wanted]
    return "\n".join(lines) or "- none"


def _grouped(cells: Sequence[Cell], key: Callable[[Cell], tuple[str, ...]]) -> list[list[Cell]]:
    groups: dict[tuple[str, ...], list[Cell]] = {}
    for cell in cells:
        groups.setdefault(key(cell), []).append(cell)
    return list(groups.values())


def _count(cells: Sequence[Cell], outcome: Outcome) -> int:
    return sum(cell.outcome is outcome for cell in cells)


def _markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
