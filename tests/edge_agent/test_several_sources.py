"""Several sources in one configuration: read by name, taken in turn, each with its own problem until that is over."""

from __future__ import annotations

import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from edge_agent.announcer import Announcer
from edge_agent.config import AgentConfig, read_config
from edge_agent.source_settings import SourceSettings
from edge_agent.sources import JoinedSensor, build_sensor
from headway.errors import ConfigError
from headway.ports import SystemClock
from headway.stream import Channel, StreamFormat
from headway.wire import Event
from tests.device import ManualClock
from tests.edge_agent.variants import SIZE, variant

STREAM = StreamFormat((Channel("level"),), rate_hz=8.0, length=SIZE, hop=SIZE, gap_s=1e6)
HEAD = '[device]\nid = "d"\n[bundle]\npath = "m.hwb"\n[storage]\nstate_dir = "state"\n'


def config(folder: Path, sources: str) -> AgentConfig:
    (folder / "agent.toml").write_text(HEAD + sources)
    return read_config(folder / "agent.toml")


def test_sources_are_read_by_name_or_a_single_one_as_before(tmp_path: Path) -> None:
    assert config(tmp_path, "").sources == ()
    assert config(tmp_path, '[source]\nname = "tank"\nbaud = 9600\n').sources == (
        SourceSettings(name="tank", baud=9600),
    )
    assert config(tmp_path, '[source.left]\nkind = "stdin"\n[source.right]\nbaud = 9600\n').sources == (
        SourceSettings(kind="stdin", name="left"),
        SourceSettings(name="right", baud=9600),
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('[source]\nbaud = 9600\n[source.left]\nkind = "stdin"\n', r"\[source\] holds baud beside the table"),
        ("[source.left]\nbaud = 1\n", "baud"),
        ("[source.left]\nbauds = 1\n", "did you mean 'baud'|known"),
        ('[source."le ft"]\nkind = "stdin"\n', "source.name"),
        ('[source.a]\nname = "x"\n[source.b]\nname = "x"\n', "sources are called x, x; give at most 8 with different"),
        ("".join(f"[source.a{at}]\nbaud = 9600\n" for at in range(9)), "give at most 8"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        config(tmp_path, text)


def printing(name: str, *values: int) -> str:
    """A source whose command prints a window of each value and goes on waiting."""
    lines = "".join(f"{at / 8},{value}\\\\n" for at, value in enumerate(v for v in values for _ in range(SIZE)))
    program = f"import sys, time; sys.stdout.write('{lines}'); sys.stdout.flush(); time.sleep(60)"
    return (
        f'[source.{name}]\ncommand = [{sys.executable!r}, "-c", "{program}"]\nchannels = ["t", "level"]\ntime = "t"\n'
    )


def test_windows_of_all_are_taken_and_one_that_fails_stops_no_other(tmp_path: Path) -> None:
    failing = '[source.broken]\ncommand = ["/no/such/program"]\n'
    settings = config(tmp_path, printing("one", 1, 2) + failing + printing("two", 3))
    woken = threading.Semaphore(0)
    sensor = build_sensor(settings, replace(variant(), stream=STREAM), SystemClock(), woken.release)
    assert isinstance(sensor, JoinedSensor)
    sensor.recover(0)
    for _ in range(3):
        assert woken.acquire(timeout=20)
    notices: list[tuple[str, str]] = []
    while not notices:
        notices += sensor.take_notices()
    files = list(sensor.claim(1))
    found = {}
    for file in files:
        samples = sensor.read(file, (), new_classes=False)
        assert samples.ids is not None
        found |= {samples.ids[row].split("-")[0]: samples.windows(row, row + 1)[0, 0] for row in range(len(samples))}
    assert found == {"one": 2.0, "two": 3.0}
    assert [file.sequence for file in files] == [1, 2]
    assert notices[0][0] == "source-failed broken"
    assert notices[0][1].startswith("source broken: cannot start '/no/such/program'")
    sensor.close()


def test_what_is_wrong_with_a_source_names_it(tmp_path: Path) -> None:
    its = replace(variant(), stream=STREAM)
    with pytest.raises(ConfigError, match="source tank: source.command is empty"):
        build_sensor(config(tmp_path, '[source.tank]\nkind = "command"\n'), its, SystemClock(), lambda: None)
    twice = '[source.a]\nkind = "stdin"\n[source.b]\nkind = "stdin"\n'
    with pytest.raises(ConfigError, match='two sources are of kind "stdin"'):
        build_sensor(config(tmp_path, twice), its, SystemClock(), lambda: None)


def test_each_source_has_a_problem_since_when_until_it_is_back() -> None:
    clock, sent = ManualClock(), list[Event]()

    def publish(payload: bytes) -> int:
        sent.append(Event.decode(payload))
        return 1

    announcer = Announcer(clock, publish, networked=False)
    announcer.note("source-failed left", "source left: unplugged")
    clock.now_s += 5000
    announcer.note("source-failed right", "source right: no broker")
    announcer.disk_and_learning("", "", False)
    assert "source left: unplugged" in announcer.problem
    assert "source right: no broker" in announcer.problem
    announcer.note("source-back left", "source left gives rows again")
    announcer.disk_and_learning("", "", False)
    assert announcer.problem.startswith("source-failed right since ")
    assert "left" not in announcer.problem
    assert [event.name for event in sent] == ["source-failed", "source-failed", "source-back", "problem-cleared"]
