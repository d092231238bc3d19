"""Sections of the report's page on data and model: verdict, notes, shapes and options, figures by class, confusion."""

from __future__ import annotations

import html
import math

from converter.report.report import Report

CONFUSION_CLASSES_MAX = 30  # a wider table cannot be read


def details(report: Report) -> str:
    """HTML of the sections; names from outside are escaped."""
    parts = [f"<h2>Verdict</h2><p>{html.escape(report.verdict)}</p>"]
    if report.notes:
        parts.append(f"<ul>{''.join(f'<li>{html.escape(note)}</li>' for note in report.notes)}</ul>")
    facts = {"input": str(report.input_shape), "options": ", ".join(report.chosen) or "all by default"}
    rows = "".join(f"<tr><th>{name}</th><td>{html.escape(text)}</td></tr>" for name, text in facts.items())
    parts.append(f'<table class="facts">{rows}</table>')
    if report.confusion:
        parts += [_by_class(report), _confusion(report)]
    return "".join(parts)


def _by_class(report: Report) -> str:
    rows = "".join(
        f"<tr><td>{html.escape(name)}</td>{_cells(str(count), _percent(recall), _percent(precision))}</tr>"
        for name, count, recall, precision in report.per_class()
    )
    top = "".join(f'<th class="n">{head}</th>' for head in ("windows", "recall", "precision"))
    return f"<h2>Classes, by the source model</h2><table><tr><th>class</th>{top}</tr>{rows}</table>"


def _confusion(report: Report) -> str:
    if len(report.classes) > CONFUSION_CLASSES_MAX:
        return ""
    names = [html.escape(name) for name in report.classes]
    top = "".join(f'<th class="n">{name}</th>' for name in names)
    rows = "".join(
        f"<tr><th>{name}</th>{_cells(*map(str, row))}</tr>" for name, row in zip(names, report.confusion, strict=True)
    )
    return f"<h2>Confusion: rows as labelled, columns as answered</h2><table><tr><th></th>{top}</tr>{rows}</table>"


def _cells(*texts: str) -> str:
    return "".join(f'<td class="n">{text}</td>' for text in texts)


def _percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{100 * share:.1f} %"
