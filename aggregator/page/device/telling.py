"""Events of a device in words. What stands in one was written by the device: any of it may be missing, or anything."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aggregator.page.words import number
from aggregator.store import EventRow

HEAD_CHANGED, DRIFT = "head-changed", "drift"
CHARACTERS_MAX = 400
BY = {
    "leave-one-out": "each label judged by a head that had not learned it",
    "prequential": "each label predicted before anybody learned it",
    "correction": "after labels were corrected",
}


@dataclass(frozen=True, slots=True)
class Told:
    """An event. words: a sentence; tone: good, bad, warn or quiet; evidence: heads and losses per label, best first."""

    at_s: float
    name: str
    words: str
    tone: str
    evidence: tuple[tuple[str, float], ...] = ()
    by: str = ""


def told(row: EventRow) -> Told:
    """An event in words; the detail as it is where we have none."""
    detail = _detail(row.detail)
    write = _WORDS.get(row.name)
    words, tone = ("", "quiet") if write is None or not isinstance(detail, dict) else write(detail)
    evidence = _losses(detail.get("scores")) if row.name == HEAD_CHANGED and isinstance(detail, dict) else ()
    by = BY.get(str(detail.get("by")), "") if isinstance(detail, dict) else ""
    return Told(row.received_s, row.name, words or _plain(detail), tone, evidence, by)


def _head_changed(detail: Mapping[str, Any]) -> tuple[str, str]:
    before, after = _text(detail, "before"), _text(detail, "after")
    learned = f" after {number(detail['labels'])} labels" if isinstance(detail.get("labels"), int) else ""
    if after == "frozen":
        return f"The frozen head answers again instead of {before}{learned}: it was no worse.", "warn"
    return f"{after} answers instead of {before}{learned}: it was better on labels that it had not learned.", "good"


def _drift(detail: Mapping[str, Any]) -> tuple[str, str]:
    before, after = detail.get("before"), detail.get("after")
    if detail.get("by") == "error" and isinstance(before, int | float) and isinstance(after, int | float):
        return (
            f"Drift: the served head erred on {100 * before:.1f} % of labels before, {100 * after:.1f} % since.",
            "bad",
        )
    return f"Drift of the input: windows differ from the training data ({_text(detail, 'by')}).", "bad"


def _labels_wanted(detail: Mapping[str, Any]) -> tuple[str, str]:
    return f"Asks for labels of {_count(detail.get('ids'))} windows: those it is least sure of.", "quiet"


def _labels_doubted(detail: Mapping[str, Any]) -> tuple[str, str]:
    return f"{_count(detail.get('numbers'))} labels are probably wrong; edge-agent explain shows which.", "warn"


def _rolled_back(detail: Mapping[str, Any]) -> tuple[str, str]:
    return f"Went back to the bundle before: {_text(detail, 'problem')}", "bad"


_WORDS: dict[str, Callable[[Mapping[str, Any]], tuple[str, str]]] = {
    HEAD_CHANGED: _head_changed, DRIFT: _drift, "labels-wanted": _labels_wanted, "labels-doubted": _labels_doubted,
    "delivery-rolled-back": _rolled_back,
}  # fmt: skip


def _losses(scores: object) -> tuple[tuple[str, float], ...]:
    """Mean loss per label of each candidate, smallest first."""
    if not isinstance(scores, dict):
        return ()
    found = []
    for name, score in scores.items():
        if isinstance(score, dict):
            weight, loss = score.get("weight"), score.get("loss")
            if isinstance(weight, int | float) and isinstance(loss, int | float) and weight > 0:
                found.append((str(name), loss / weight))
    return tuple(sorted(found, key=lambda pair: pair[1])[:6])


def _detail(text: str) -> Any:
    try:
        return json.loads(text) if text else {}
    except ValueError:
        return text


def _plain(detail: object) -> str:
    if isinstance(detail, dict):
        pairs = (f"{key}: {value if isinstance(value, str) else json.dumps(value)}" for key, value in detail.items())
        return ", ".join(pairs)[:CHARACTERS_MAX]
    return str(detail)[:CHARACTERS_MAX]


def _text(detail: Mapping[str, Any], key: str) -> str:
    return str(detail.get(key, "?"))[:CHARACTERS_MAX]


def _count(value: object) -> str:
    return str(len(value)) if isinstance(value, list) else "some"
