"""The report as one HTML page with pictures: size, latency, score and parity of every backbone. No script, no links."""

from __future__ import annotations

import html
import math
from collections.abc import Callable
from pathlib import Path

from converter.proof import Proof
from converter.report.report import Report
from converter.report.report_details import details
from headway.durable import write_durably

STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b2733}
.facts th{width:8rem;font-weight:600}.note{color:#52606d;font-size:.9rem}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin:2rem 0 .5rem}table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #dde3e9}td.n,th.n{text-align:right}
.pictures{display:grid;grid-template-columns:repeat(auto-fit,minmax(26rem,1fr));gap:1rem}
.refused{color:#a12b1d}svg text{font:12px system-ui,sans-serif;fill:#1b2733}svg .v{fill:#52606d}
"""
NOTE = (
    "Parity: largest difference from the source model's features over their largest absolute value. Agreement: share "
    "of windows with the same answer as the source model. Score: accuracy (several labels: share of right ones; "
    "values: R²) on the given data. Latency: median of one window, one thread, on the converting machine. "
    "Rows in red were measured and refused."
)
BAR, LABEL, VALUE, ROW = 190, 250, 80, 24
COLOURS = {"ai-edge-litert": "#2f6fb3", "tflite-runtime": "#3f9b6c", "onnxruntime": "#b3702f"}


def write_html(report: Report, path: Path) -> None:
    """Write the page. Raises StoreError when the disk refuses."""
    write_durably(path, page(report).encode())


def page(report: Report) -> str:
    """The whole page as text."""
    passed = [proof for proof in report.proofs if not proof.refused]
    pictures = "".join(
        [
            _bars("Size, KB", passed, lambda p: p.payload_bytes / 1e3, lambda v: f"{v:,.1f}"),
            _bars("Latency of one window, µs (median)", passed, lambda p: p.latency_us, lambda v: f"{v:,.1f}"),
            _bars("Score on the given data", passed, lambda p: p.score, lambda v: f"{v:.4f}"),
            _bars("Parity: max |difference| / scale, log", passed, lambda p: p.parity, lambda v: f"{v:.1e}", True),
        ]
    )
    title = html.escape(report.bundle.name)
    lines = report.lines()
    facts = "".join(
        f"<tr><th>{html.escape(name)}</th><td>{html.escape(text)}</td></tr>"
        for name, text in (line.strip().split(maxsplit=1) for line in lines[: lines.index("")])
    )
    refused = "".join(
        f"<li>{html.escape(line.strip().removeprefix('refused').strip())}</li>"
        for line in lines
        if line.startswith("  refused ")
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>'
        f'<h1>Conversion report: {title}</h1><table class="facts">{facts}</table>'
        f'<h2>Backbones</h2>{_table(report)}<div class="pictures">{pictures}</div>'
        + f"<p class='note'>{NOTE}</p>"
        + details(report)
        + (f'<h2>Refused</h2><ul class="refused">{refused}</ul>' if refused else "")
        + "</html>\n"
    )


def _table(report: Report) -> str:
    heads = ("KB", "µs", "parity", "agreement", "mixed windows", "score")
    rows = []
    for p in report.proofs:
        name = (
            f"<td>{html.escape(p.engine)} {html.escape(p.precision)}</td><td>{html.escape(p.runtime)} {p.version}</td>"
        )
        if not p.measured:
            rows.append(f'<tr>{name}<td colspan="6" class="refused">does not run, see below</td></tr>')
            continue
        cells = (
            f"{p.payload_bytes / 1e3:,.1f}",
            f"{p.latency_us:,.1f}",
            f"{p.parity:.1e}",
            f"{100 * p.agreement:.2f} %",
            "-" if p.mixed_agreement is None else f"{100 * p.mixed_agreement:.2f} %",
            f"{p.score:.4f}",
        )
        style = ' class="refused"' if p.refused else ""
        rows.append(f"<tr{style}>{name}{''.join(f'<td class=n>{cell}</td>' for cell in cells)}</tr>")
    top = "".join(f'<th class="n">{head}</th>' for head in heads)
    return f"<table><tr><th>backbone</th><th>runtime</th>{top}</tr>{''.join(rows)}</table>"


def _bars(
    title: str,
    proofs: list[Proof],
    value: Callable[[Proof], float],
    shown: Callable[[float], str],
    logarithmic: bool = False,
) -> str:
    """One horizontal bar chart as inline SVG."""

    def length(x: float) -> float:
        # parity spans decades: 1e-8 draws as nothing, 1 as a full bar
        return (math.log10(max(x, 1e-8)) + 8) / 8 if logarithmic else x

    top = 1.0 if logarithmic else max([length(value(p)) for p in proofs] + [1e-30])
    drawn = []
    for index, p in enumerate(proofs):
        y, width = index * ROW, max(1.0, BAR * min(1.0, length(value(p)) / top))
        drawn.append(
            f'<text x="0" y="{y + 16}">{html.escape(f"{p.engine} {p.precision}, {p.runtime}")}</text>'
            f'<rect x="{LABEL}" y="{y + 4}" width="{width:.1f}" height="{ROW - 8}" fill="{COLOURS[p.runtime]}"/>'
            f'<text class="v" x="{LABEL + width + 6:.1f}" y="{y + 16}">{shown(value(p))}</text>'
        )
    width, height = LABEL + BAR + VALUE, ROW * len(proofs)
    return (
        f'<figure style="margin:0"><h2>{html.escape(title)}</h2><svg viewBox="0 0 {width} {height}" width="100%" '
        f'role="img" aria-label="{html.escape(title)}">{"".join(drawn)}</svg></figure>'
    )
