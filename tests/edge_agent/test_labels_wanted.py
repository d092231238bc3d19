"""Which windows a device asks people about, what it tells of them, and how often; what was said of one afterwards."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_agent.agent import Agent
from edge_agent.labels.sketches import sketch_of
from edge_agent.labels_wanted_settings import LabelsWantedSettings
from headway.ports import Connected, Delivered, Received
from headway.wire import (
    LABELS_WANTED_BYTES_MAX,
    SKETCH_BYTES_MAX,
    Command,
    CommandResults,
    Commands,
    Kind,
    LabelsWanted,
    WantedLabel,
    topic,
)
from tests.device import Device
from tests.edge_agent.variants import CLASSES, windows

WISHES = LabelsWantedSettings(windows_max=4, interval_s=100.0)


class Asking:
    """A device with a connection, on real files, that asks for four labels."""

    def __init__(self, folder: Path, settings: LabelsWantedSettings = WISHES) -> None:
        self.device = Device(folder)
        self.device.config = replace(self.device.config, labels_wanted=settings)
        self.commands = 0
        self.restart()

    def restart(self, session_present: bool = True) -> None:
        self.device.loop.store.current.close()
        self.device.boot()
        self.device.loop.handle(Connected(session_present))

    def see(self, count: int, seed: int = 1, name: str = "w") -> None:
        """Windows with ids and without labels."""
        x, _ = windows(count, drift=0.8, seed=seed)
        part = self.device.folder / f".{name}.npz"
        np.savez(part, x=x, id=np.array([f"{name}{i}" for i in range(count)]))
        part.rename(self.device.folder / "spool" / f"{name}.npz")
        self.device.turn()

    def say(self, name: str, **arguments: str) -> dict[str, object]:
        """The result of a command."""
        self.commands += 1
        command = Command(f"{self.commands:016x}", name, dict(arguments), 2e9)
        self.device.loop.handle(Received(topic("test", "pump", Kind.COMMANDS), Commands((command,)).encode(), True))
        self.device.turn()
        (result,) = CommandResults.decode(self.device.wire.of(Kind.COMMAND_RESULTS)[-1]).results
        return dict(result.detail)

    def wait(self, seconds: float) -> None:
        """A second after the other."""
        for _ in range(int(seconds)):
            self.device.turn()

    @property
    def agent(self) -> Agent:
        return self.device.loop.agent

    @property
    def messages(self) -> list[LabelsWanted]:
        return list(map(LabelsWanted.decode, self.device.wire.of(Kind.LABELS_WANTED)))

    @property
    def ids(self) -> list[str]:
        return [window.id for window in self.messages[-1].windows]


@pytest.fixture
def subject(tmp_path: Path) -> Asking:
    return Asking(tmp_path)


def test_the_least_certain_windows_are_asked_about_in_order(subject: Asking) -> None:
    subject.see(30)
    message = subject.messages[-1]
    margins = {}
    for window_id, window in subject.agent.windows.without_label():
        low, high = np.sort(window.probability[0])[-2:]
        margins[window_id] = float(high - low)
    assert [window.id for window in message.windows] == sorted(margins, key=lambda name: margins[name])[:4]
    assert message.classes == CLASSES
    first = message.windows[0]
    assert first.margin == pytest.approx(margins[first.id], abs=1e-3)
    assert (first.at_s, first.served_by) == (1.8e9, "frozen")
    assert (first.nearest, first.sketch) == (None, None), "nothing is labelled, and no raw data leaves the device"


def test_the_same_windows_are_asked_about_in_the_same_order_on_every_device(tmp_path: Path) -> None:
    told = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        one = Asking(tmp_path / name)
        one.see(30)
        told.append(one.device.wire.of(Kind.LABELS_WANTED)[-1])
    assert told[0] == told[1]


def test_a_labelled_window_leaves_the_list_and_is_the_nearest_of_another(subject: Asking) -> None:
    subject.see(30)
    asked = subject.ids
    assert subject.say("label", window=asked[0], **{"class": "walk"}) == {"label": "learned"}
    subject.wait(20)
    assert asked[0] not in subject.ids
    nearest = subject.messages[-1].windows[0].nearest
    assert nearest is not None
    assert (nearest.id, nearest.label) == (asked[0], "walk")
    mine, its = (subject.agent.windows.get(each) for each in (subject.ids[0], asked[0]))
    assert mine is not None
    assert its is not None
    difference = mine.codes.astype(float) - its.codes.astype(float)
    assert nearest.distance == pytest.approx(np.sqrt((difference**2).mean()), abs=0.01)


def test_a_label_that_is_undone_from_afar_leaves_the_tables_as_they_were(subject: Asking) -> None:
    subject.see(30)
    subject.say("label", window="w3", **{"class": "walk"})
    before, window = subject.device.tables, subject.ids[0]
    subject.say("label", window=window, **{"class": "idle"})
    assert subject.device.tables != before
    assert subject.say("undo-label", window=window) == {"label": "corrected"}
    assert subject.device.tables == before
    subject.wait(200)
    assert window in subject.ids, "and it is asked about again"
    assert subject.say("undo-label", window=window) == {"label": "repeated"}


def test_a_skipped_window_is_not_asked_about_again_not_even_after_a_restart(subject: Asking) -> None:
    subject.see(30)
    first, second, *_ = subject.ids
    subject.say("skip-window", window=first)
    subject.wait(20)
    assert subject.ids[0] == second
    subject.restart()
    subject.wait(20)
    assert subject.ids[0] == second
    assert subject.say("undo-label", window=first) == {"label": "asked-again"}
    subject.wait(20)
    assert subject.ids[0] == first


def test_when_a_window_came_is_known_after_a_restart_too(subject: Asking) -> None:
    subject.see(30)
    before = subject.messages[-1]
    subject.device.clock.wall += 1000.0
    subject.restart(session_present=False)
    subject.wait(20)
    assert subject.messages[-1] == before


def test_commands_about_windows_that_are_forgotten_fail(subject: Asking) -> None:
    subject.see(3)
    for name in ("undo-label", "skip-window"):
        assert "does not remember window 'w99'" in str(subject.say(name, window="w99")["problem"])


def test_what_changes_all_the_time_is_told_once_in_each_interval(subject: Asking) -> None:
    for number in range(40):
        subject.see(3, seed=number, name=f"n{number}x")
        subject.wait(24)
    assert 4 < len(subject.messages) <= 4 + 40 * 25 / 100 + 1


def test_what_does_not_change_is_not_told_again(subject: Asking) -> None:
    subject.see(10)
    count = len(subject.messages)
    subject.wait(1000)
    assert len(subject.messages) == count


def test_after_a_new_connection_only_what_may_be_lost_is_told_again(subject: Asking) -> None:
    subject.see(10)
    subject.device.loop.handle(Connected(True))
    subject.wait(20)
    assert len(subject.messages) == 2, "the broker had not confirmed it"
    sent = [message.topic.endswith("labels-wanted") for message in subject.device.wire.sent]
    subject.device.loop.handle(Delivered(len(sent) - sent[::-1].index(True), "Success", False))
    subject.device.loop.handle(Connected(True))
    subject.wait(20)
    assert len(subject.messages) == 2
    subject.device.loop.handle(Connected(False))
    subject.wait(20)
    assert len(subject.messages) == 3, "the broker has lost what it retained"


def test_a_device_that_asks_for_none_says_nothing(tmp_path: Path) -> None:
    subject = Asking(tmp_path, replace(WISHES, windows_max=0))
    subject.see(10)
    subject.wait(20)
    assert subject.messages == []


def test_an_empty_list_is_told_once_the_last_window_is_labelled(subject: Asking) -> None:
    subject.see(1)
    assert subject.ids == ["w0"]
    subject.say("label", window="w0", **{"class": "walk"})
    subject.wait(20)
    assert subject.messages[-1] == LabelsWanted(CLASSES)


def test_sketches_are_sent_only_by_a_device_whose_own_file_says_so(tmp_path: Path) -> None:
    subject = Asking(tmp_path, replace(WISHES, send_windows=True, sketch_bytes=64))
    subject.see(10)
    sketches = [window.sketch for window in subject.messages[-1].windows]
    assert all(sketch is not None and 0 < sketch.size_bytes <= 64 for sketch in sketches)
    before = subject.messages[-1]
    subject.restart(session_present=False)
    subject.wait(20)
    assert subject.messages[-1] == before, "they are kept with the list"


@pytest.mark.parametrize("shape", [(1000,), (7,), (128, 6), (500, 100), (64, 64, 3), (600, 2, 1), (8, 8, 1), (1, 1)])
@pytest.mark.parametrize("bytes_max", [16, 256, SKETCH_BYTES_MAX])
def test_a_sketch_is_within_its_bound_and_looks_like_the_window(shape: tuple[int, ...], bytes_max: int) -> None:
    window = np.linspace(-2.0, 6.0, int(np.prod(shape)), dtype=np.float32).reshape(shape)
    sketch = sketch_of(window, bytes_max)
    assert sketch is not None
    assert 0 < sketch.size_bytes <= bytes_max
    LabelsWanted.decode(LabelsWanted(CLASSES, (WantedLabel("w", 0.0, "exact", {"walk": 1.0}, None, sketch),)).encode())
    assert -2.0 <= sketch.low <= sketch.high <= 6.0
    assert sketch.rows[0][0] <= sketch.rows[-1][-1]


def test_missing_values_are_gaps_and_a_window_without_any_value_has_no_sketch() -> None:
    window = np.array([0.0, np.nan, 2.0, np.inf], np.float32)
    sketch = sketch_of(window, 64)
    assert sketch is not None
    assert sketch.rows == (bytes([1, 0, 255, 0]),)
    assert sketch_of(np.full(4, np.nan, np.float32), 64) is None
    assert sketch_of(np.zeros((2, 2, 2, 2), np.float32), 64) is None
    assert sketch_of(np.zeros((0,), np.float32), 64) is None


def test_a_message_never_has_more_bytes_than_are_taken() -> None:
    sketch = sketch_of(np.arange(2048, dtype=np.float32), SKETCH_BYTES_MAX)
    long = tuple(f"{number}{'ä' * 200}" for number in range(300))
    every = tuple(
        WantedLabel(f"w{number}", 0.0, "exact", dict.fromkeys(long[:8], 0.1), None, sketch) for number in range(80)
    )
    fitting = LabelsWanted(long, every).fitting()
    assert 0 < len(fitting.windows) < 80
    assert len(fitting.encode()) <= LABELS_WANTED_BYTES_MAX
    assert LabelsWanted.decode(fitting.encode()) == fitting
