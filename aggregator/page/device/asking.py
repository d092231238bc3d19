"""What a device asks people about, and what they said: its windows as the inbox shows them, some of them at a time."""

from __future__ import annotations

from dataclasses import dataclass

from aggregator.inbox import ActState, LabelAct, WantedView, WantedWindow
from aggregator.page.drawing import Drawing, drawing_of
from aggregator.store.rows import LabelActRow

WINDOWS_SHOWN, ACTS_SHOWN, SHARES_SHOWN = 6, 8, 3
STATES = {ActState.ASKED: ("on its way", "quiet"), ActState.DONE: ("done", "good"), ActState.FAILED: ("refused", "bad")}
WORDS = {LabelAct.NONE: "none of the classes", LabelAct.SKIP: "skipped", LabelAct.UNDO: "taken back"}


@dataclass(frozen=True, slots=True)
class ShownWindow:
    """A window that nobody has labelled. shares: the most probable classes; drawing: where a sketch was sent."""

    window: WantedWindow
    shares: tuple[tuple[str, float], ...]
    drawing: Drawing | None


@dataclass(frozen=True, slots=True)
class ShownAct:
    """What somebody said of a window. words: of what; state, tone: whether the device has it."""

    row: LabelActRow
    words: str
    state: str
    tone: str


@dataclass(frozen=True, slots=True)
class Asking:
    """windows: the least certain first; more: beyond those that are shown. acts: the newest first."""

    windows: tuple[ShownWindow, ...]
    more: int
    acts: tuple[ShownAct, ...]
    told_s: float | None


def asking_of(view: WantedView) -> Asking:
    """What `aggregator.inbox.wanted_view` found, for people."""
    return Asking(
        tuple(_window(window) for window in view.windows[:WINDOWS_SHOWN]),
        max(0, len(view.windows) - WINDOWS_SHOWN),
        tuple(_act(row) for row in view.acts[:ACTS_SHOWN]),
        view.received_s or None,
    )


def _window(window: WantedWindow) -> ShownWindow:
    shares = sorted(window.probabilities.items(), key=lambda pair: -pair[1])[:SHARES_SHOWN]
    return ShownWindow(window, tuple(shares), None if window.sketch is None else drawing_of(window.sketch))


def _act(row: LabelActRow) -> ShownAct:
    state, tone = STATES[ActState(row.state)]
    return ShownAct(row, WORDS.get(LabelAct(row.act), row.class_name), state, tone)
