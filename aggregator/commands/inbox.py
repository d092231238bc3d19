"""Implements `edge-fleet inbox` and `label`: what waits for a person, and what windows were."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, cast

from aggregator.alerts import span
from aggregator.commands.tables import aligned, print_table
from aggregator.durations import moment
from aggregator.inbox import InboxItem, InboxPage, LabelAct
from aggregator.reach import Fleet
from headway.errors import ConfigError
from headway.fields import JsonValue, readable_json
from headway.ports import Clock
from headway.printable import printable

if TYPE_CHECKING:
    from headway_client.models import UnlabelledWindow, WantedLabels

HEADER, NUMBERS = ("KIND", "SUBJECT", "FOR", "WHAT", "ANSWER WITH"), frozenset({"FOR"})
WINDOWS_HEADER = ("WINDOW", "SEEN", "PROBABILITIES", "NEAREST LABEL", "PROBLEM")
PROBABILITIES_SHOWN = 3
ITEMS_MAX = 1000


def show_inbox(fleet: Fleet, clock: Clock, kind: str, device: str, count_max: int, in_json: bool) -> None:
    """``edge-fleet inbox``. Raises ConfigError."""
    if not 1 <= count_max <= ITEMS_MAX:
        raise ConfigError(f"--limit must be from 1 to {ITEMS_MAX}, got {count_max}")
    if device:
        if kind:
            raise ConfigError("--device shows the windows of one device; leave --kind out")
        _show_windows(fleet.labels_wanted(device), in_json)
        return
    page = fleet.inbox(kind, "", count_max)
    if in_json:
        print(readable_json(asdict(page)))
        return
    _show_items(page, clock.wall_s())


def label_window(
    fleet: Fleet, device: str, window: str, class_name: str, acts: Sequence[LabelAct], in_json: bool
) -> None:
    """``edge-fleet label``. acts: that were asked for instead of a class. Raises ConfigError."""
    if len(acts) + bool(class_name) != 1:
        raise ConfigError(f"say one thing of window {window!r}: a CLASS, --none, --skip or --undo")
    act = acts[0] if acts else LabelAct.LABEL
    row = fleet.label(device, window, act, class_name)
    if in_json:
        print(readable_json(cast("dict[str, JsonValue]", {**row})))
        return
    words = {
        LabelAct.LABEL: f"{window} is {class_name}", LabelAct.NONE: f"{window} is none of the classes",
        LabelAct.SKIP: f"{window} is skipped", LabelAct.UNDO: f"what was said of {window} is taken back",
    }  # fmt: skip
    on_its_way = f"; {device} is told when it is there, `edge-fleet commands {device}` shows it"
    print(printable(words[act] + (on_its_way if row["state"] == "asked" else "")))


def _show_items(page: InboxPage, now_s: float) -> None:
    if not page.items:
        print("nothing waits for you")
        return
    lines = [_line(item, now_s) for item in page.items]
    print_table(HEADER, lines, aligned([HEADER, *lines]), NUMBERS)
    counts = ", ".join(f"{count} {kind}" for kind, count in page.counts.items() if count)
    print(f"{counts}; {page.windows} windows to label" + ("; more wait: --limit" if page.next else ""))


def _line(item: InboxItem, now_s: float) -> tuple[str, ...]:
    waited = span(max(0.0, now_s - item.since_s))
    return item.kind, printable(item.subject), waited, printable(item.summary), printable(item.command)


def _show_windows(told: WantedLabels, in_json: bool) -> None:
    if in_json:
        print(readable_json(cast("dict[str, JsonValue]", {**told})))
        return
    if not told["windows"]:
        print(f"{told['device']} wants no label" + ("" if told["received_s"] else ", or has not said so"))
        return
    lines = [_window_line(window) for window in told["windows"]]
    print_table(WINDOWS_HEADER, lines, aligned([WINDOWS_HEADER, *lines]), frozenset())
    print(printable(f"classes: {', '.join(told['classes'])}"))
    print(f"edge-fleet label {told['device']} WINDOW CLASS, or --none, --skip, --undo")


def _window_line(window: UnlabelledWindow) -> tuple[str, ...]:
    seen = f"{moment(window['at_s'])} UTC" if window["at_s"] else "not known"
    by_size = sorted(window["probabilities"].items(), key=lambda one: (-one[1], one[0]))[:PROBABILITIES_SHOWN]
    probable = ", ".join(f"{name} {100 * value:.0f} %" for name, value in by_size)
    nearest = window["nearest"]
    near = "" if nearest is None else f"{nearest['label']} ({nearest['id']}, {nearest['distance']:g})"
    return printable(window["id"]), seen, printable(probable), printable(near), printable(window["problem"])
