"""Writes the report as one HTML page with pictures: size, latency, score and parity of every backbone. No scripts."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from converter.proof import Proof
from converter.report.report import Report
from headway.durable import write_durably

TEMPLATE = "report.html.j2"
CONFUSION_CLASSES_MAX = 30  # a wider table cannot be read
BAR, LABEL, VALUE, ROW = 190, 250, 80, 24
COLOURS = {"ai-edge-litert": "#2f6fb3", "tflite-runtime": "#3f9b6c", "onnxruntime": "#b3702f"}


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar, in the picture's units; y: of the row's upper edge."""

    name: str
    y: int
    length: float
    colour: str
    shown: str


@dataclass(frozen=True, slots=True)
class Chart:
    """One horizontal bar chart; left: where the bars begin."""

    title: str
    bars: tuple[Bar, ...]
    left: int = LABEL
    width: int = LABEL + BAR + VALUE
    thickness: int = ROW - 8

    @property
    def height(self) -> int:
        return ROW * len(self.bars)


def write_html(report: Report, path: Path) -> None:
    """Write the page. Raises StoreError when the disk refuses."""
    write_durably(path, page(report).encode())


def page(report: Report) -> str:
    """The whole page as text; everything that a model or a runtime says is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined  # only who asks for a page needs it

    passed = [proof for proof in report.proofs if not proof.refused]
    lines = report.lines()
    templates = Environment(
        loader=PackageLoader("converter.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    templates.filters["percent"] = _percent
    return templates.get_template(TEMPLATE).render(
        report=report,
        confusion_classes_max=CONFUSION_CLASSES_MAX,
        title=report.bundle.name,
        facts=[line.strip().split(maxsplit=1) for line in lines[: lines.index("")]],
        proofs=report.proofs,
        charts=[
            _chart("Size, KB", passed, lambda p: p.payload_bytes / 1e3, lambda v: f"{v:,.1f}"),
            _chart("Latency of one window, µs (median)", passed, lambda p: p.latency_us, lambda v: f"{v:,.1f}"),
            _chart("Score on the given data", passed, lambda p: p.score, lambda v: f"{v:.4f}"),
            _chart("Parity: max |difference| / scale, log", passed, lambda p: p.parity, lambda v: f"{v:.1e}", True),
        ],
        reasons=[line.strip().removeprefix("refused").strip() for line in lines if line.startswith("  refused ")],
    )


def _chart(
    title: str,
    proofs: list[Proof],
    value: Callable[[Proof], float],
    shown: Callable[[float], str],
    logarithmic: bool = False,
) -> Chart:
    def length(x: float) -> float:
        # parity spans decades: 1e-8 draws as nothing, 1 as a full bar
        return (math.log10(max(x, 1e-8)) + 8) / 8 if logarithmic else x

    top = 1.0 if logarithmic else max([length(value(p)) for p in proofs] + [1e-30])
    bars = (
        Bar(
            name=f"{p.engine} {p.precision}, {p.runtime}",
            y=index * ROW,
            length=max(1.0, BAR * min(1.0, length(value(p)) / top)),
            colour=COLOURS[p.runtime],
            shown=shown(value(p)),
        )
        for index, p in enumerate(proofs)
    )
    return Chart(title, tuple(bars))


def _percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{100 * share:.1f} %"
