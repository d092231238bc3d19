"""``edge-agent explain``: prints the newest decisions of a device and the evidence for each."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from edge_agent.config import AgentConfig
from edge_agent.delivery import Slots
from edge_agent.labels import read_records
from edge_agent.store import SQLiteStore
from headway.errors import StoreError, reason
from headway.fields import JsonValue

HEADER = ("when (device's clock)", "labels", "what", "evidence")
IDS_SHOWN = 4
DOUBT_COLUMNS = ("ids", "given", "instead", "numbers")


def read_decisions(config: AgentConfig) -> list[dict[str, JsonValue]]:
    """Newest last. Raises StoreError when the agent has never run here."""
    try:
        path = Slots(config.state_dir, config.bundle).store_dir / "agent.sqlite"
        missing = not path.exists()
    except PermissionError as error:
        raise StoreError(f"you may not look into {config.state_dir}: {reason(error)}") from error
    if missing:
        raise StoreError(f"{path} does not exist; the agent has not run with this configuration yet")
    store = SQLiteStore(path, read_only=True)
    records = [record for record in read_records(store.load()) if isinstance(record, dict)]
    store.close()
    return records


def decisions_text(records: list[dict[str, JsonValue]]) -> str:
    """A table, a line per decision."""
    if not records:
        return "no decisions yet: the frozen head serves, and nothing has drifted"
    rows = [HEADER, *map(_row, records)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER) - 1)]
    lines = []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        lines.append("  ".join((*cells, row[-1])).rstrip())
    return "\n".join(lines)


def _row(record: dict[str, JsonValue]) -> tuple[str, str, str, str]:
    detail, wall_s = record["detail"], record["wall_s"]
    if not isinstance(detail, dict) or not isinstance(wall_s, (int, float)):
        raise StoreError("saved records are damaged")
    when = datetime.fromtimestamp(wall_s, UTC).strftime("%Y-%m-%d %H:%M:%S")
    what, evidence = _words(str(record["name"]), detail)
    return when, str(detail.get("labels", "")), what, evidence


def _words(name: str, detail: dict[str, JsonValue]) -> tuple[str, str]:
    if name == "head-changed":
        return f"{detail['before']} -> {detail['after']}", f"{detail['by']}: {_scores(detail.get('scores'))}"
    if name == "drift" and detail["by"] == "error":
        return "drift of the error", f"{detail['before']} -> {detail['after']} since label {detail['since']}"
    if name == "drift":
        moved = f"mean shift {detail['mean_shift']}, spread {detail['spread']} of the source's"
        return f"drift of the features ({detail['by']})", f"{detail['before']} -> {detail['after']}; {moved}"
    if name == "labels-doubted":
        return "labels doubted", _first(doubts_in_words(detail))
    ids = detail.get("ids")
    names = [str(item) for item in ids] if isinstance(ids, list) else []
    return "labels wanted", _first(names)


def doubts_in_words(detail: Mapping[str, JsonValue]) -> list[str]:
    """``w-17: walk, or rather run?`` for each doubted label of an event ``labels-doubted``."""
    columns = [value if isinstance(value := detail.get(key), list) else [] for key in DOUBT_COLUMNS]
    return [
        f"{window_id or f'label {number}'}: {given}, or rather {instead}?"
        for window_id, given, instead, number in zip(*columns, strict=True)
    ]


def _first(names: list[str]) -> str:
    more = f" and {len(names) - IDS_SHOWN} more" if len(names) > IDS_SHOWN else ""
    return ", ".join(names[:IDS_SHOWN]) + more


def _scores(scores: JsonValue) -> str:
    """Mean loss per candidate, the best first."""
    if not isinstance(scores, dict):
        return ""
    means = []
    for name, score in scores.items():
        if isinstance(score, dict) and isinstance(score["weight"], (int, float)) and score["weight"]:
            loss = score["loss"]
            means.append((float(loss) / score["weight"] if isinstance(loss, (int, float)) else 0.0, name))
    return ", ".join(f"{name} {mean:.3f}" for mean, name in sorted(means)) + " loss per label"
