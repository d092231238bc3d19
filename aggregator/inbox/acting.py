"""What people say of a window: its class, none of these, nothing, or that what was said is taken back.

label -> command ``label`` to the device, offline-first and done once -> its result ends the act
none, skip -> off the list here, and ``skip-window`` to a device that knows it, so that it asks about others
undo -> ``undo-label``: the device's tables are as before, to the bit
"""

from __future__ import annotations

from aggregator.inbox.reading import ActState, LabelAct, listed_window, recount, stands
from aggregator.remote_commands import ask, supported_by
from aggregator.store import Store
from aggregator.store.rows import LABEL_ACTS, LabelActRow
from headway.errors import ConfigError, ConflictError
from headway.fields import JsonValue
from headway.wire import can_be_asked_about

# under which the store counts acts
COUNT = "label_acts"
# of a device that are kept, the newest
ACTS_MAX = 200
# for so long a device may be away before what was said of its windows is given up
LABEL_SECONDS = 7 * 86_400.0


def say(store: Store, device: str, window: str, act: LabelAct, class_name: str, who: str, now_s: float) -> LabelActRow:
    """Say something of a window; what is said later takes its place. In a transaction. now_s: wall clock.

    Raises ConfigError for a class or a window that is none, and what `ask` raises; ConflictError where there is nothing
    to take back.
    """
    if bool(class_name) != (act is LabelAct.LABEL):
        raise ConfigError(f"a class belongs to {LabelAct.LABEL} and to nothing else; {act} came with {class_name!r}")
    if not can_be_asked_about(window):
        raise ConfigError(f"{window[:40]!r} is no id of a window: 1 to 128 printable characters")
    before = store.rows(LABEL_ACTS).get(device, window)
    if before is not None and stands(before):
        if (before.act, before.class_name) == (act, class_name):
            return before
    elif act is LabelAct.UNDO:
        raise ConflictError(f"nothing was said here of window {window!r} of {device} that could be taken back")
    number = store.number(COUNT) + 1
    store.put_number(COUNT, number)
    command = _command(store, device, window, act, class_name, before, who, now_s)
    state = str(ActState.ASKED if command else ActState.DONE)
    window_json = listed_window(store, device, window) or ("" if before is None else before.window_json)
    row = LabelActRow(device, window, number, str(act), class_name, command, who, now_s, state, "", window_json)
    store.rows(LABEL_ACTS).put(row)
    kept = sorted(store.rows(LABEL_ACTS).all(device), key=lambda other: other.number)
    for old in kept[:-ACTS_MAX]:
        store.rows(LABEL_ACTS).remove(device, old.window)
    recount(store, device, now_s)
    return row


def _command(
    store: Store, device: str, window: str, act: LabelAct, class_name: str, before: LabelActRow | None, who: str,
    now_s: float,
) -> str:  # fmt: skip
    """The id of what the device is told, empty where it need not be told or cannot be."""
    names = {LabelAct.LABEL: "label", LabelAct.UNDO: "undo-label"}
    name = names.get(act, "skip-window")
    arguments: dict[str, JsonValue] = {"window": window, **({"class": class_name} if class_name else {})}
    supported = supported_by(store, device) or ()
    if act is not LabelAct.LABEL and name not in supported:
        if before is not None and before.act == LabelAct.LABEL and act is LabelAct.UNDO:
            raise ConfigError(
                f"the agent of {device} is older and takes no label back from afar; on the device: edge-agent label "
                f"{window} --undo"
            )
        return ""
    return ask(store, device, name, arguments, who, now_s, LABEL_SECONDS).id
