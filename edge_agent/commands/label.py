"""``edge-agent label``: says what a window was, or all that ended in a span of time, or takes that back, whether the
agent runs or not."""

from __future__ import annotations

import math
from datetime import datetime, time, timedelta

from edge_agent.commands.status import remembered_windows
from edge_agent.config import AgentConfig, SensorSettings
from edge_agent.label_doors import LabelFiles
from edge_agent.labels import ended_in, in_words
from headway.errors import ConfigError
from headway.fields import JsonValue, canonical_json
from headway.ports import Clock
from headway.wire import SCHEMA, GivenLabels


def give_label(window_id: str, label: str, values: str, undo: bool, *, settings: SensorSettings, clock: Clock) -> str:
    """Put it into the spool; returns the file's name. values: numbers between commas, nothing where one is unknown.

    Raises ConfigError for anything but one class, values, or undo; StoreError.
    """
    given = _given({"id": window_id}, f"window {window_id!r} was", label, values, undo=undo)
    return LabelFiles(settings, clock).write(given)


def give_span_label(
    span: tuple[str, str], label: str, values: str, undo: bool, *, config: AgentConfig, clock: Clock
) -> str:
    """The same of every window that ended in between, at the first time or later and before the second one.

    span: times as `time_s` takes them. Raises ConfigError, also where the store shows that nothing is in the span.
    """
    begin, end = span
    if not begin or not end:
        raise ConfigError("a span of time has two ends; give --from and --to")
    begin_s, end_s = time_s(begin, clock), time_s(end, clock)
    if begin_s >= end_s:
        words = f"--from {begin} is {in_words(begin_s)}, --to {end} is {in_words(end_s)}"
        raise ConfigError(f"{words}; the end must come later")
    given = _given({"from_s": begin_s, "to_s": end_s}, f"windows from {begin} to {end} were", label, values, undo=undo)
    windows = remembered_windows(config)
    if windows is not None:
        ended_in(windows, begin_s, end_s)
    return LabelFiles(config.sensor, clock).write(given)


def time_s(text: str, clock: Clock) -> float:
    """Seconds since 1970 of a date and time, by this machine's time zone where it names none; of a time alone the last
    time that it was so late. Raises ConfigError."""
    now = datetime.fromtimestamp(clock.wall_s()).astimezone()
    try:
        if "T" in text or "-" in text:
            return datetime.fromisoformat(text).astimezone().timestamp()
        moment = datetime.combine(now.date(), time.fromisoformat(text)).astimezone()
        if moment > now:
            moment = datetime.combine(now.date() - timedelta(days=1), time.fromisoformat(text)).astimezone()
    except (ValueError, OverflowError, OSError) as error:
        raise ConfigError(f"{text[:40]!r} is no time; write 2026-11-29T10:03 or 10:03") from error
    return moment.timestamp()


def _given(which: dict[str, JsonValue], what: str, label: str, values: str, *, undo: bool) -> GivenLabels:
    if bool(label) + bool(values) + undo != 1:
        raise ConfigError(f"say what {what}: give a class, --values or --undo, one of them")
    said: dict[str, JsonValue] = {"label": label}
    if values:
        said = {"values": [_number(word) for word in values.split(",")]}
    return GivenLabels.decode(canonical_json({"schema": SCHEMA, "labels": [which | said]}), ConfigError)


def _number(word: str) -> float | None:
    try:
        value = float(word) if word.strip() else math.nan
    except ValueError:
        value = math.inf
    if math.isinf(value):
        raise ConfigError(f"--values has {word[:40]!r}, which is no number; write 0.5,,1 where one is unknown")
    return None if math.isnan(value) else value
