"""The page of a replayed recording: what was answered, beside what the frozen head and rules without a model would say.

One file of plain HTML with drawings in it: no script, nothing fetched.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edge_agent.commands.charts import ALARM, CHANGE, bars, lines, shown
from edge_agent.commands.charts import STYLE as CHART_STYLE
from edge_agent.commands.replay_findings import Columns, clearly_above, losses, mean_loss
from headway.arrays import AnyArray, Float32, Float64, Strings
from headway.maths import Task
from headway.samples import is_labelled

PARTS = 40
BINS = 10
CLASSES_SHOWN = 30
COLUMNS_SHOWN = 10  # those without which least is left
STYLE = CHART_STYLE + (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:58rem;margin:2rem auto;padding:0 1rem;color:var(--ink);"
    "background:var(--paper)}table{border-collapse:collapse;margin:1rem 0}svg{width:100%;height:auto}"
    ".scroll{overflow-x:auto}h1{overflow-wrap:anywhere}"
    "td,th{border-bottom:1px solid var(--grid);padding:.25rem .7rem;text-align:right;vertical-align:top}"
    "td:first-child,th:first-child{text-align:left}.bad{color:var(--alarm);font-weight:600}"
    "@media(max-width:40rem){body{margin:1rem auto}td,th{padding:.2rem .35rem;font-size:.9rem}}"
)


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay gave. answers: by name the predictions of all rows, first the learner's (``served``).

    probability float32 (n, C), a regression's values; served_by: the head of each row; drift: rows before which an
    alarm was raised; columns: of `leaking_columns`; names: of the columns, where known.
    """

    title: str
    task: Task
    classes: tuple[str, ...]
    y: AnyArray
    answers: Mapping[str, AnyArray]
    probability: Float32
    served_by: Strings
    drift: tuple[int, ...]
    columns: Columns
    by_class: Mapping[str, Mapping[str, object]]
    names: tuple[str, ...] = ()


def replay_page(replayed: Replayed) -> str:
    """The whole page."""
    each = {name: losses(answer, replayed.y, replayed.task) for name, answer in replayed.answers.items()}
    body = [
        f"<h1>{html.escape(replayed.title)}</h1>",
        f"<p>Rows: {len(replayed.y):,}, with a label {int(is_labelled(replayed.y).sum()):,}. Each row was answered "
        "before its label was learned.</p>",
        _summary(replayed, each),
        f"<h2>Error over the recording</h2><p>Dashed lines: another head serves. Red lines: a drift alarm. "
        f"{_changes(replayed)}</p>{_curve(replayed, each)}",
        _detail(replayed),
        _per_class(replayed.by_class),
        _columns(replayed.columns, replayed.names),
    ]
    title = html.escape(replayed.title)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head>'
        f"<body>{''.join(body)}</body></html>\n"
    )


def _summary(replayed: Replayed, each: Mapping[str, Float64]) -> str:
    unit = "mean absolute error" if replayed.task is Task.REGRESSION else "wrong, %"
    factor = 1.0 if replayed.task is Task.REGRESSION else 100.0
    last = slice(len(replayed.y) * 3 // 4, None)
    rows = "".join(
        f"<tr><td>{html.escape(name)}</td><td>{shown(factor * mean_loss(loss))}</td>"
        f"<td>{shown(factor * mean_loss(loss[last]))}</td></tr>"
        for name, loss in each.items()
    )
    rules = [name for name in each if name.startswith("the ")]
    best = min(rules, key=lambda name: mean_loss(each[name]))
    lines = [
        _said(each["served"], each[other], shown) for other, shown in ((best, best), ("frozen", "the frozen head"))
    ]
    told = "".join(f"<li{_marked('NOT' in line)}>{html.escape(line)}</li>" for line in lines)
    return (
        f"<table><tr><th>answered by</th><th>{unit}</th><th>in the last quarter</th></tr>{rows}</table><ul>{told}</ul>"
    )


def _said(own: Float64, its: Float64, other: str) -> str:
    """Both losses of every row, (n,)."""
    mine, theirs = mean_loss(own), mean_loss(its)
    if not np.isfinite(mine):
        return "no row has a label: nothing can be said"
    by = f"by {_percent(abs(theirs - mine) / theirs)} of its error" if theirs else "than no error at all"
    if np.array_equal(own, its, equal_nan=True):
        return f"served answers as {other} does, or errs on the same rows"
    if clearly_above(its - own):
        return f"served is better than {other} {by}"
    if clearly_above(own - its):
        return f"served is NOT better than {other}, but worse {by}"
    return f"served is NOT clearly better than {other}: what they differ by is within chance"


def _changes(replayed: Replayed) -> str:
    served = replayed.served_by
    rows = np.flatnonzero(served[1:] != served[:-1]) + 1
    told = [f"row {row}: {served[row]}" for row in rows[:12]]
    more = f" and {len(rows) - 12} more" if len(rows) > 12 else ""
    gate = f"The gate let serve: row 0: {served[0]}; {'; '.join(told)}{more}." if told else f"Always: {served[0]}."
    alarms = ", ".join(map(str, replayed.drift[:12])) if replayed.drift else "none"
    return html.escape(f"{gate} Drift alarms at row: {alarms}.")


def _curve(replayed: Replayed, each: Mapping[str, Float64]) -> str:
    parts = np.array_split(np.arange(len(replayed.y)), min(PARTS, len(replayed.y)))
    series = {name: np.array([mean_loss(loss[part]) for part in parts]) for name, loss in each.items()}
    changes = np.flatnonzero(replayed.served_by[1:] != replayed.served_by[:-1]) + 1
    marks = [(float(row), f"row {row}: {replayed.served_by[row]} serves", CHANGE) for row in changes[:200]]
    marks += [(float(row), f"drift, row {row}", ALARM) for row in replayed.drift[:200]]
    label = "row; " + ("mean absolute error" if replayed.task is Task.REGRESSION else "share that is wrong")
    return lines(series, label, marks, (0, len(replayed.y)))


def _detail(replayed: Replayed) -> str:
    """A confusion matrix and how sure answers were, or residuals."""
    if replayed.task is Task.REGRESSION:
        return _residuals(replayed)
    if replayed.task is Task.CLASSIFICATION:
        return _confusion(replayed) + _calibration(replayed)
    return _calibration(replayed)


def _residuals(replayed: Replayed) -> str:
    found = []
    for index, name in enumerate(replayed.classes[:CLASSES_SHOWN]):
        residual = replayed.answers["served"][:, index].astype(np.float64) - replayed.y[:, index]
        residual = residual[np.isfinite(residual)]
        if len(residual):
            low, high = np.quantile(residual, (0.005, 0.995))
            counts, edges = np.histogram(residual.clip(low, high), bins=31)
            drawn = bars(counts, f"answer less truth, output {name}", (float(edges[0]), float(edges[-1])))
            middle, wide = np.median(residual), np.quantile(np.abs(residual), 0.9)
            told = f"mean {shown(residual.mean())}, median {shown(middle)}, 90 % within {shown(wide)}"
            found.append(f"<p>output {html.escape(name)}: {told}</p>{drawn}")
    return f"<h2>Residuals</h2>{''.join(found) or '<p>No row has a label.</p>'}"


def _confusion(replayed: Replayed) -> str:
    count = len(replayed.classes)
    if count > CLASSES_SHOWN:
        return f"<h2>Confusion</h2><p>{count} classes are too many to show; at most {CLASSES_SHOWN} are.</p>"
    known = is_labelled(replayed.y)
    table = np.zeros((count, count), np.int64)
    np.add.at(table, (replayed.y[known], replayed.answers["served"][known]), 1)
    names = [html.escape(name) for name in replayed.classes]
    head = "".join(f"<th>{name}</th>" for name in names)
    rows = ""
    for index, name in enumerate(names):
        share = table[index] / max(int(table[index].sum()), 1)
        cells = "".join(f'<td style="background:rgba(var(--heat),{0.6 * s:.2f})">{c}</td>'
                        for c, s in zip(table[index], share, strict=True))  # fmt: skip
        rows += f"<tr><td>{name}</td>{cells}</tr>"
    return (
        "<h2>Confusion</h2><p>Rows: the label; columns: what was answered.</p>"
        f'<div class="scroll"><table><tr><th></th>{head}</tr>{rows}</table></div>'
    )


def _calibration(replayed: Replayed) -> str:
    """How often answers of each probability were right."""
    if replayed.task is Task.CLASSIFICATION:
        known = is_labelled(replayed.y)
        sure = replayed.probability[known].max(axis=1)
        right = replayed.answers["served"][known] == replayed.y[known]
    else:
        known = ~np.isnan(replayed.y)
        sure, right = replayed.probability[known], replayed.y[known] > 0.5
    if not len(sure):
        return ""
    bins = np.minimum((sure * BINS).astype(np.int64), BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    share = np.bincount(bins, right, BINS) / np.maximum(counts, 1)
    said = np.bincount(bins, sure, BINS) / np.maximum(counts, 1)
    error = float((np.abs(share - said) * counts).sum() / counts.sum())
    empty = counts == 0
    drawn = bars(np.where(empty, np.nan, share), "probability of the answer; dots: as it says", (0, 1),
                 np.where(empty, np.nan, said))  # fmt: skip
    told = f"Bars: share that was right. Mean difference (ECE): {100 * error:.1f} points."
    return f"<h2>Calibration</h2><p>{told}</p>{drawn}"


def _per_class(by_class: Mapping[str, Mapping[str, object]]) -> str:
    """precision, recall and the like, as `replay` prints them; of many classes those with the lowest F1 of all that
    have labels."""
    if not by_class:
        return ""
    measures = list(next(iter(by_class.values())))
    shown, told = list(by_class.items()), ""
    if len(shown) > CLASSES_SHOWN and "f1" in measures and "samples" in measures:
        labelled = [(name, figures) for name, figures in shown if figures["samples"]]
        shown = sorted(labelled, key=lambda each: float(str(each[1]["f1"])))[:CLASSES_SHOWN]
        told = f"<p>{len(by_class)} classes, {len(labelled)} with labels: those with the lowest F1.</p>"
    head = "".join(f"<th>{html.escape(measure)}</th>" for measure in measures)
    rows = "".join(
        f"<tr><td>{html.escape(name)}</td>{''.join(f'<td>{_number(figures.get(m))}</td>' for m in measures)}</tr>"
        for name, figures in shown
    )
    title = "By class" if "f1" in measures or "samples" not in measures else "By output"
    return f'<h2>{title}</h2>{told}<div class="scroll"><table><tr><th></th>{head}</tr>{rows}</table></div>'


def _number(value: object) -> str:
    return shown(value) if isinstance(value, int | float) else html.escape(str(value))


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share < 0.1 else f"{100 * share:.0f} %"


def _columns(columns: Columns, names: Sequence[str]) -> str:
    if columns.why_not:
        return f"<h2>Columns</h2><p>Whether one column carries the gain was {html.escape(columns.why_not)}</p>"
    called = {each.number: html.escape(names[each.number] if names else str(each.number)) for each in columns.tried}
    rows = "".join(
        f"<tr{_marked(each.suspicious or each.knows)}><td>{called[each.number]}</td><td>{100 * each.left:.0f} %</td>"
        f"<td>{100 * max(each.alone, 0.0):.0f} %</td></tr>"
        for each in columns.tried[:COLUMNS_SHOWN]
    )
    if len(columns.tried) > COLUMNS_SHOWN:
        rows += f"<tr><td>{len(columns.tried) - COLUMNS_SHOWN} more</td><td></td><td></td></tr>"
    told, bad = _told_of(columns, called)
    which = "Each column"
    if columns.count > len(columns.tried):
        which = f"Each of the {len(columns.tried)} columns, of {columns.count}, that say most alone"
    return (
        f"<h2>Columns</h2><p{_marked(bad)}>{told}</p><p>{which} was put to its mean, and the newest rows were "
        "replayed. Alone: a rule that answers as other rows with the nearest values of this column did.</p>"
        '<div class="scroll"><table><tr><th>column</th><th>of the gain is left without it</th><th>it gets alone</th>'
        f"</tr>{rows}</table></div>"
    )


def _told_of(columns: Columns, called: Mapping[int, str]) -> tuple[str, bool]:
    """What the columns say, and whether it is a warning."""
    asked = (
        "is it known when the answer is needed? If it already knows the answer, as a value that is only measured later "
        "does, this gain is a leak. If it is known in time, it is the column that matters."
    )
    know = [called[each.number] for each in columns.tried if each.knows]
    if know:
        which = f"Column {know[0]}" if len(know) == 1 else f"Each of columns {', '.join(know)}"
        return f"{which} alone answers about as well as the learner with all columns: {asked}", True
    suspects = [called[each.number] for each in columns.tried if each.suspicious]
    if len(suspects) == 1:
        return f"Without column {suspects[0]} nearly all the gain is gone: {asked}", True
    if suspects:
        return (
            f"The gain needs columns {', '.join(suspects)} together: without any one of them nearly all is gone. Are "
            "all of them known when the answer is needed?"
        ), False
    return "No single column carries all the gain over the naive rules.", False


def _marked(bad: bool) -> str:
    return ' class="bad"' if bad else ""
