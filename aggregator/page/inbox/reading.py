"""What the inbox shows, read in one picture of the store."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

from aggregator.inbox import ActState, InboxPage, Kind, LabelAct, WantedView, WantedWindow, stands
from aggregator.operations import Operator, labels_wanted, show_inbox
from aggregator.page.drawing import Drawing, drawing_of
from aggregator.page.words import shell
from aggregator.store.rows import LabelActRow
from headway.errors import ConfigError

PAGE_SIZE = 50
KEYS_MAX = 9
NAMES = {
    Kind.ROLLOUT: "Rollouts", Kind.CERTIFICATE: "Certificates", Kind.QUARANTINE: "Set aside", Kind.DRIFT: "Drift",
    Kind.ALERT: "Alerts", Kind.LABELS: "Labels",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody looks at. kind, after: of the list; device, window: what they label; last: a device of which they
    labelled something, so that it can be taken back."""

    kind: str = ""
    after: str = ""
    device: str = ""
    window: str = ""
    last: str = ""

    def address(self, path: str = "/inbox", **changed: str) -> str:
        """In a bar of addresses; what is changed to the empty text is left out."""
        given = {"kind": self.kind, "after": self.after, "device": self.device, "window": self.window,
                 "last": self.last} | changed  # fmt: skip
        query = urlencode({name: value for name, value in given.items() if value})
        return f"{path}?{query}" if query else path


@dataclass(frozen=True, slots=True)
class Choice:
    """A class. key: of the keyboard, empty where there are more classes than keys. probability: None: not told."""

    name: str
    key: str
    probability: float | None
    nearest: bool


@dataclass(frozen=True, slots=True)
class Labelling:
    """A window to label. left: of its device, this one included. drawing: None where the device sends no sketches."""

    device: str
    window: WantedWindow
    choices: tuple[Choice, ...]
    others: tuple[str, ...]
    left: int
    drawing: Drawing | None

    @property
    def command(self) -> str:
        """What says the same in a shell."""
        return f"edge-fleet label {self.device} {shell(self.window.id)} CLASS"


@dataclass(frozen=True, slots=True)
class Said:
    """What was said last, and can be taken back. words: in one line."""

    act: LabelActRow
    words: str


@dataclass(frozen=True, slots=True)
class InboxShown:
    """page: the list; labelling: None when no device wants a label. problem: why the address cannot be read."""

    page: InboxPage
    labelling: Labelling | None
    said: Said | None
    problem: str = ""


def inbox_shown(operator: Operator, asked: Asked) -> InboxShown:
    """Everything at once."""
    try:
        page, problem = show_inbox(operator, asked.kind, asked.after, PAGE_SIZE), ""
    except ConfigError as error:
        page, problem = show_inbox(operator, "", "", PAGE_SIZE), str(error)
    labelling = _labelling(operator, asked, page)
    shown_of = asked.last or (labelling.device if labelling is not None else asked.device)
    return InboxShown(page, labelling, _said(operator, shown_of), problem)


def _labelling(operator: Operator, asked: Asked, page: InboxPage) -> Labelling | None:
    view = _view(operator, asked.device)
    if view is None or not view.windows:
        items = [] if asked.after else [item for item in page.items if item.kind == Kind.LABELS]
        if not items and page.windows:
            items = show_inbox(operator, str(Kind.LABELS), "", 1).items
        view = _view(operator, items[0].subject) if items else None
    if view is None or not view.windows:
        return None
    window = next((one for one in view.windows if one.id == asked.window), view.windows[0])
    choices, others = _choices(view, window)
    drawing = None if window.sketch is None else drawing_of(window.sketch)
    return Labelling(view.device, window, choices, others, len(view.windows), drawing)


def _view(operator: Operator, device: str) -> WantedView | None:
    """None for a device that is not, or no longer, known."""
    if not device or len(device) > 64 or operator.store.device(device) is None:
        return None
    return labels_wanted(operator, device)


def _choices(view: WantedView, window: WantedWindow) -> tuple[tuple[Choice, ...], tuple[str, ...]]:
    """Classes with keys, in the device's order, so that a key means the same at every window; where they are more than
    keys, the most probable ones. And the names of the others."""
    names = view.classes or tuple(window.probabilities)
    if len(names) > KEYS_MAX:
        probable = sorted(names, key=lambda name: -window.probabilities.get(name, -1.0))[:KEYS_MAX]
        names = tuple(name for name in names if name in probable)
    near = "" if window.nearest is None else window.nearest.label
    choices = tuple(
        Choice(name, str(at), window.probabilities.get(name), name == near) for at, name in enumerate(names, start=1)
    )
    return choices, tuple(name for name in view.classes if name not in names)


def _said(operator: Operator, device: str) -> Said | None:
    view = _view(operator, device)
    act = None if view is None else next(iter(view.acts), None)
    if act is None:
        return None
    if act.act == LabelAct.UNDO:
        words = f"What was said of {act.window} of {act.device} is taken back"
    else:
        what = {LabelAct.NONE: "none of the classes", LabelAct.SKIP: "skipped"}.get(LabelAct(act.act), act.class_name)
        words = f"{act.window} of {act.device} is {what}"
    state = {ActState.ASKED: "on its way to the device", ActState.DONE: "done"}
    return Said(act, f"{words}, {state.get(ActState(act.state), act.problem)}")


def may_be_taken_back(said: Said | None) -> bool:
    """Whether an undo is offered."""
    return said is not None and stands(said.act)
