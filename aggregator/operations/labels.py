"""What waits for a person, and what people say of windows whose class devices want to know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from aggregator.inbox import InboxPage, LabelAct, WantedView, inbox_page, plain_window, say, wanted_view
from aggregator.operations.operator import Operator
from aggregator.remote_commands import OPEN_MAX
from aggregator.store.rows import LabelActRow
from headway.errors import ConfigError
from headway.fields import JsonValue

# as many as may wait for a device
LABELS_MAX = OPEN_MAX


def show_inbox(operator: Operator, kind: str, after: str, count_max: int) -> InboxPage:
    """What waits, the most urgent first. kind: empty for all; after: `next` of the page before. Raises ConfigError."""
    return inbox_page(operator.store, kind, after, count_max, operator.now_s)


def labels_wanted(operator: Operator, device: str) -> WantedView:
    """Windows whose class a device wants to know, and what was said of others. Raises UnknownNameError."""
    return wanted_view(operator.store, operator.the(device))


def label_window(operator: Operator, device: str, window: str, act: LabelAct, class_name: str) -> LabelActRow:
    """Say what a window was, that it was none of these, that nobody wants to say, or take that back.

    Raises UnknownNameError, ConfigError, and ConflictError where there is nothing to take back.
    """
    row = say(operator.store, operator.the(device), window, act, class_name, operator.who, operator.now_s)
    told: dict[str, JsonValue] = {"window": window, "command": row.command}
    operator.did(f"label-{act}" if act is not LabelAct.LABEL else "label", device, class_name=class_name, **told)
    return row


def label_windows(operator: Operator, device: str, labels: Sequence[tuple[str, str]]) -> list[LabelActRow]:
    """Say what several windows were, all or none of them; each counts once. labels: windows with their classes.

    Raises what `label_window` does, and ConfigError for none, too many, or a window with two classes.
    """
    if not 1 <= len(labels) <= LABELS_MAX:
        raise ConfigError(f"give 1 to {LABELS_MAX} labels at once, got {len(labels)}")
    classes: dict[str, str] = {}
    for window, class_name in labels:
        if classes.setdefault(window, class_name) != class_name:
            raise ConfigError(f"window {window[:40]!r} cannot be {classes[window]!r} and {class_name!r}; say one")
        if not class_name:
            raise ConfigError(f"window {window[:40]!r} came without a class")
    return [label_window(operator, device, window, LabelAct.LABEL, name) for window, name in classes.items()]


def plain_wanted_labels(view: WantedView) -> dict[str, JsonValue]:
    """For JSON."""
    return {
        "device": view.device, "classes": [*view.classes], "received_s": view.received_s,
        "windows": [plain_window(window) for window in view.windows], "acts": [plain_act(row) for row in view.acts],
    }  # fmt: skip


def plain_act(row: LabelActRow) -> dict[str, JsonValue]:
    """For JSON."""
    return {name: value for name, value in asdict(row).items() if name != "window_json"}
