"""``edge-agent label``: says what a window was, or takes that back, whether the agent runs or not."""

from __future__ import annotations

import math

from edge_agent.config import SensorSettings
from edge_agent.label_doors import LabelFiles
from headway.errors import ConfigError
from headway.fields import JsonValue, canonical_json
from headway.ports import Clock
from headway.wire import SCHEMA, GivenLabels


def give_label(window_id: str, label: str, values: str, *, undo: bool, settings: SensorSettings, clock: Clock) -> str:
    """Put it into the spool; returns the file's name. values: numbers between commas, nothing where one is unknown.

    Raises ConfigError for anything but one class, values, or undo; StoreError.
    """
    if bool(label) + bool(values) + undo != 1:
        raise ConfigError(f"say what window {window_id!r} was: give a class, --values or --undo, one of them")
    row: dict[str, JsonValue] = {"id": window_id, "label": label}
    if values:
        row = {"id": window_id, "values": [_number(word) for word in values.split(",")]}
    given = GivenLabels.decode(canonical_json({"schema": SCHEMA, "labels": [row]}), ConfigError)
    return LabelFiles(settings, clock).write(given)


def _number(word: str) -> float | None:
    try:
        value = float(word) if word.strip() else math.nan
    except ValueError:
        value = math.inf
    if math.isinf(value):
        raise ConfigError(f"--values has {word[:40]!r}, which is no number; write 0.5,,1 where one is unknown")
    return None if math.isnan(value) else value
