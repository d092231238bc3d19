"""A label that holds from one moment to another is of every remembered window that ended in between, once."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from edge_agent import daemon
from edge_agent.cli import main
from edge_agent.commands.label import time_s
from edge_agent.labels import RememberedWindows
from edge_agent.labels.remembered import Window
from headway.durable import checked, unchecked_tensors
from headway.errors import ConfigError, RemoteError, StoreError
from headway.tensors import decode_tensors, encode_tensors
from headway.wire import GivenLabel, GivenLabels
from tests.device import ManualClock
from tests.edge_agent.test_label_doors import Labelled
from tests.edge_agent.variants import CLASSES


class Timed(Labelled):
    """Its windows end an hour apart, whenever they come."""

    began_s = 1_764_400_000.0

    def hours(self, count: int) -> list[str]:
        ids = self.windows(count=count)
        self.turn()
        windows = self.loop.agent.windows
        for window_id in ids:
            found = windows.get(window_id)
            assert found is not None
            windows.add(window_id, replace(found, ended_s=0.0))
        windows.ended(ids, [self.at(hour) for hour in range(count)])
        return ids

    def at(self, hour: float) -> float:
        return self.began_s + 3600 * hour

    def say_between(self, *spans: tuple[float, float, str]) -> None:
        given = GivenLabels(tuple(GivenLabel("", label, span=(self.at(a), self.at(b))) for a, b, label in spans))
        self.say_payload(given.encode())
        self.turn()

    def labels_of(self, ids: list[str]) -> list[int]:
        found = [self.loop.agent.windows.get(window_id) for window_id in ids]
        return [-1 if window is None else int(window.label) for window in found]


def test_every_window_that_ended_in_the_span_is_labelled_once(tmp_path: Path) -> None:
    device = Timed(tmp_path)
    ids = device.hours(12)
    device.say_between((3, 6, "walk"))
    assert device.labels_of(ids) == [-1] * 3 + [1] * 3 + [-1] * 6
    assert device.tables.counts.tolist() == [0, 3, 0]
    device.say_between((3, 6, "walk"))
    assert device.tables.counts.tolist() == [0, 3, 0], "the same again counts once"
    device.say_between((4, 9, "run"))
    assert device.tables.counts.tolist() == [0, 1, 5], "what is said later corrects"
    device.say_between((0, 24, ""))
    assert device.tables.counts.tolist() == [0, 0, 0]
    assert device.early == 0


def test_where_spans_of_one_message_overlap_the_later_one_holds(tmp_path: Path) -> None:
    device = Timed(tmp_path)
    ids = device.hours(6)
    device.say_between((0, 4, "walk"), (3, 5, "run"))
    assert device.labels_of(ids) == [1, 1, 1, 2, 2, -1]


def test_a_span_without_windows_is_refused_in_one_line(tmp_path: Path) -> None:
    device = Timed(tmp_path)
    device.hours(6)
    device.say_between((0, 2, "walk"), (20, 30, "run"))
    (reason,) = (tmp_path / "spool" / "rejected").glob("labels-*.reason")
    assert reason.read_text() == (
        "no window ended from 2025-11-30T03:06:40Z to 2025-11-30T13:06:40Z: those that are remembered (horizon_rows) "
        "ended from 2025-11-29T07:06:40Z to 2025-11-29T12:06:40Z\n"
    )
    assert device.tables.samples == 0, "all of a message, or nothing"
    assert "input-rejected" in device.wire.event_names


def test_when_windows_ended_is_known_after_a_restart(tmp_path: Path) -> None:
    device = Timed(tmp_path)
    before_s = time.time() - 1  # the kernel dates files by a coarse clock
    ids = device.windows(count=4)
    device.turn()
    device.boot()
    span = device.loop.agent.windows.ended_span
    assert span is not None
    assert before_s <= span[0] <= span[1] <= time.time()
    given = GivenLabels((GivenLabel("", "idle", span=(span[0], span[1] + 1)),))
    device.say_payload(given.encode())
    device.turn()
    assert device.labels_of(ids) == [0] * 4


def test_windows_saved_by_an_earlier_release_have_no_end(tmp_path: Path) -> None:
    window = Window(np.zeros((1, 3), np.int8), np.zeros((1, 3), np.float32), np.ones((1, 3), np.float32), "frozen")
    tensors, meta = decode_tensors(unchecked_tensors(window.encode(), "w"), "w", StoreError, 1 << 20)
    assert isinstance(meta, list)
    earlier = Window.decode(checked(encode_tensors(tensors, meta[:5])))
    assert earlier.ended_s == 0.0
    windows = RememberedWindows(4)
    windows.add("w", earlier)
    assert windows.ended_between(0.0, 1e12) == []
    windows.ended(["w", "gone"], [7.0, 8.0])
    windows.ended(["w"], [9.0])
    assert windows.ended_between(7.0, 8.0) == ["w"], "the first end is the true one"


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ('[{"from_s":5,"to_s":5,"label":"walk"}]', "the end must come later"),
        ('[{"from_s":5,"label":"walk"}]', "to_s"),
        ('[{"from_s":1,"to_s":5,"label":"walk"},{"id":"w","label":"walk"}]', "mixes ids and spans of time"),
        ('[{"id":"w","from_s":1,"to_s":5,"label":"walk"}]', "id"),
    ],
)
def test_a_malformed_span_is_refused(labels: str, words: str) -> None:
    payload = f'{{"labels":{labels},"schema":1}}'.encode()
    with pytest.raises(RemoteError, match=words):
        GivenLabels.decode(payload)


def test_times_of_day_are_the_last_ones() -> None:
    clock = ManualClock(wall=datetime(2026, 11, 29, 9, 30).astimezone().timestamp())
    for text, ago_s in (("09:00", 1800), ("10:00", 84600), ("09:29:30", 30)):
        assert clock.wall - time_s(text, clock) == ago_s
    assert time_s("2026-11-29T09:00+00:00", clock) == datetime.fromisoformat("2026-11-29T09:00+00:00").timestamp()
    with pytest.raises(ConfigError, match="'noon' is no time; write 2026-11-29T10:03 or 10:03"):
        time_s("noon", clock)


def test_the_command_labels_a_span_and_refuses_an_empty_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    device = Labelled(tmp_path)
    ids = device.windows(count=3)
    device.turn()
    file = tmp_path / "agent.toml"
    file.write_text(f'[device]\nid = "pump"\n[bundle]\npath = "model.hwb"\n[storage]\nstate_dir = "{device.state}"\n')

    def command(*words: str) -> tuple[int, str]:
        code = main(["label", *words, "--config", str(file)])
        said = capsys.readouterr()
        return code, (said.out + said.err).strip()

    today = datetime.now().astimezone()
    span = "--from", today.replace(hour=0, minute=0).isoformat(), "--to", today.replace(year=2099).isoformat()
    device.loop.store.current.close()
    code, said = command("walk", *span)
    assert code == 0
    assert "waits in the spool" in said
    device.boot()
    device.turn()
    assert device.tables.counts[CLASSES.index("walk")] == len(ids)
    device.loop.store.current.close()

    lock = daemon._lock(device.state)  # as of an agent that runs
    code, said = command("walk", "--from", "2001-01-01T00:00+00:00", "--to", "2001-01-02T00:00+00:00")
    assert code == 3
    assert "no window ended from 2001-01-01T00:00:00Z to 2001-01-02T00:00:00Z: those that are remembered" in said
    assert "\n" not in said
    os.close(lock)
    for words, problem in (
        (("walk", "--from", "10:00"), "a span of time has two ends"),
        (("w-1", "walk", *span), "give an id or a span of time, not both"),
        (("walk", "--from", "2001-01-02T00:00", "--to", "2001-01-01T00:00"), "the end must come later"),
        ((*span,), "give a class, --values or --undo"),
        ((), "say which windows"),
    ):
        code, said = command(*words)
        assert code == 2, words
        assert problem in said
