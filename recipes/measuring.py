"""Figures of a stream, and the page that shows them: table, curve and picture in one file without scripts."""

from __future__ import annotations

import html
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from headway.arrays import AnyArray

PARTS = 20
# the same colour in every curve; rules without a network take those that are left
COLOURS = {"exact": "C1", "frozen": "C0", "gradient": "C2", "scikit-learn SGD": "C3"}
RULES = ("C4", "C5", "C6")
STYLE = (
    ":root{color-scheme:light dark}"
    "body{font:16px/1.5 system-ui,sans-serif;max-width:56rem;margin:2rem auto;padding:0 1rem;color:#1c2430}"
    "body{background:#fff}h1{font-size:1.6rem;line-height:1.25}h2{font-size:1.2rem;margin-top:2.5rem}"
    "table{border-collapse:collapse;margin:1rem 0}td,th{border-bottom:1px solid #d5dae1;padding:.3rem .8rem .3rem 0}"
    "td,th{text-align:right}td+td{white-space:nowrap}td:first-child,th:first-child{text-align:left}ul{padding-left:1.2rem}"
    ".scroll{overflow-x:auto}figure{margin:1rem 0}svg{width:100%;max-width:46rem;height:auto}"
    ".no{color:#a4262c}small{color:#58606c}"
    "@media(prefers-color-scheme:dark){body{background:#14181d;color:#dfe5ec}td,th{border-color:#38414c}"
    ".no{color:#ff9a9e}small{color:#a3adb8}svg{background:#fff;border-radius:6px}}"
)


@dataclass(frozen=True, slots=True)
class Measured:
    """One stream, one seed. figures: of each method over all rows; curves: over `PARTS` parts of it, NaN where empty.

    measure: with its unit; rising: whether more is better. naive: the method that is the naive rule to beat.
    prototype: what recursive least squares on a frozen scikit-learn net reached on the same rows, its worst and best of
    three seeds.
    """

    title: str
    measure: str
    rising: bool
    figures: Mapping[str, float]
    curves: Mapping[str, Sequence[float]]
    naive: str
    prototype: tuple[float, float] | None = None
    picture: str = ""
    notes: tuple[str, ...] = field(default=())


def measured(title: str, truth: AnyArray, answers: Mapping[str, AnyArray], *, naive: str, measure: str = "accuracy, %",
             along: AnyArray | None = None, **more: Any) -> Measured:  # fmt: skip
    """truth and answers (n,): classes where the measure is an accuracy, else values.

    measure: begins with "accuracy", "root mean squared" or "mean absolute", and says its unit.
    along: where each row lies on the curve; in order when left out.
    """
    rising = measure.startswith("accuracy")
    squared = measure.startswith("root")
    rows = {name: 100.0 * (found == truth) if rising else np.abs(found - truth) ** (2 if squared else 1)
            for name, found in answers.items()}  # fmt: skip

    def mean(values: AnyArray) -> float:
        return float(np.sqrt(values.mean()) if squared else values.mean())

    order = np.arange(len(truth)) if along is None else np.argsort(along, kind="stable")
    parts = np.array_split(order, PARTS)
    curves = {name: [mean(each[part]) for part in parts] for name, each in rows.items()}
    return Measured(title, measure, rising, {n: mean(r) for n, r in rows.items()}, curves, naive, **more)


def drawn(draw: Callable[[Any], None], width: float = 6.0, height: float = 3.2) -> str:
    """An inline SVG of what `draw` puts on matplotlib axes. Inches, so narrow that its words can be read on a phone."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    pyplot.rcParams["svg.hashsalt"] = "recipes"
    figure, axes = pyplot.subplots(figsize=(width, height), layout="constrained")
    draw(axes)
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    pyplot.close(figure)
    text = file.getvalue()
    return text[text.index("<svg") :]


def table(runs: Sequence[Measured]) -> list[tuple[str, float, float, float]]:
    """Method, mean, least and greatest over the seeds."""
    found = {name: [run.figures[name] for run in runs] for name in runs[0].figures}
    return [(name, float(np.mean(v)), min(v), max(v)) for name, v in found.items()]


def verdicts(runs: Sequence[Measured]) -> list[str]:
    """Plainly, by the figures: whether learning pays against the frozen head, the naive rule and the prototype."""
    mean = {name: m for name, m, _, _ in table(runs)}
    first, best = runs[0], mean["exact"]

    def against(name: str, other: float) -> str:
        lead = (best - other) if first.rising else (other - best)
        word = "better than" if lead > 0 else "NOT better than"
        return f"exact is {word} {name}: {shown(best)} against {shown(other)} ({first.measure})"

    lines = [against("the frozen head", mean["frozen"]), against(f"the naive rule ({first.naive})", mean[first.naive])]
    naive = mean[first.naive]
    behind = [
        f"{name} {shown(its)}"
        for name, its in mean.items()
        if name not in ("exact", first.naive) and (its < naive if first.rising else its > naive)
    ]
    lines += [f"behind the naive rule: {', '.join(behind)}"] if behind else []
    if first.prototype is not None:
        low, high = first.prototype
        lines.append(against("a plain prototype's best seed", high if first.rising else low))
    return lines


def over(runs: Sequence[Measured]) -> str:
    """Over how many seeds."""
    return f"over {len(runs)} seed{'s' if len(runs) > 1 else ''}"


def printed(runs: Sequence[Measured]) -> str:
    """The table and the verdicts as text."""
    lines = [f"\n{runs[0].title}: {runs[0].measure}, mean of {len(runs)} seeds [least, greatest]"]
    lines += [f"  {name:<34}{shown(m):>8}   [{shown(a)}, {shown(b)}]" for name, m, a, b in table(runs)]
    return "\n".join([*lines, *(f"  {line}" for line in (*verdicts(runs), *runs[0].notes))])


def write_page(
    path: Path, title: str, credit: str, streams: Sequence[Sequence[Measured]], took: tuple[float, float]
) -> None:
    """The whole page of a recipe. streams: the runs, one a seed, of each; took: seconds, and those of a processor."""
    body = [f"<h1>{html.escape(title)}</h1>"]
    for runs in streams:
        first = runs[0]
        several = len(runs) > 1
        rows = "".join(
            f"<tr><td>{html.escape(name)}</td><td>{shown(m)}</td>"
            f"{f'<td>{shown(a)} to {shown(b)}</td>' if several else ''}</tr>"
            for name, m, a, b in table(runs)
        )
        lines = "".join(
            f"<li{' class=no' if 'NOT' in line else ''}>{html.escape(line)}</li>"
            for line in (*verdicts(runs), *first.notes)
        )
        body.append(
            f"<h2>{html.escape(first.title)}</h2><div class=scroll><table><tr><th>method</th>"
            f"<th>{html.escape(first.measure)}</th>{f'<th>{over(runs)}</th>' if several else ''}</tr>"
            f"{rows}</table></div><ul>{lines}</ul>"
            f"<figure>{drawn(partial(_curves, runs=runs))}</figure>"
            f"{f'<figure>{first.picture}</figure>' if first.picture else ''}"
        )
    body.append(
        f"<p><small>{html.escape(credit)} Measured in {took[0]:.0f} s, of a processor {took[1]:.0f} s.</small></p>"
    )
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
    head += f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style>'
    path.write_text(f"{head}<body>{''.join(body)}</body></html>", encoding="utf-8")
    figures = [
        {
            "stream": runs[0].title,
            "measure": runs[0].measure,
            "figures": {name: [mean, least, greatest] for name, mean, least, greatest in table(runs)},
            "told": [*verdicts(runs), *runs[0].notes],
        }
        for runs in streams
    ]
    path.with_suffix(".json").write_text(json.dumps(figures, indent=1), encoding="utf-8")


def _curves(axes: Any, runs: Sequence[Measured]) -> None:
    rules = iter(RULES)
    for name in runs[0].curves:
        values = np.mean([run.curves[name] for run in runs], axis=0)
        axes.plot(
            np.arange(1, len(values) + 1) / len(values) * 100,
            values,
            label=name,
            color=COLOURS[name] if name in COLOURS else next(rules, "C7"),
            linewidth=2.2 if name == "exact" else 1.2,
        )
    axes.set_xlabel("% of the stream")
    axes.set_ylabel(runs[0].measure)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, ncols=3, loc="lower left", bbox_to_anchor=(0, 1), frameon=False)  # above the curves


def shown(value: float) -> str:
    """Three or four digits."""
    return f"{value:.1f}" if abs(value) >= 5 else f"{value:.3f}"
