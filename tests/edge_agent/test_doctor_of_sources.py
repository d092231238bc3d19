"""edge-agent doctor looks at each source: it fits the bundle, and what it reads from is there."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from edge_agent.commands import examine
from edge_agent.commands.doctor import Finding, State
from edge_agent.sources import iio
from headway.ports import SystemClock
from headway.stream import Channel, StreamFormat
from testbed.broker import Broker, free_port
from tests.edge_agent.test_looking import TOML, Machine
from tests.edge_agent.variants import SIZE, variant

STREAM = StreamFormat((Channel("accel_x", "m/s2"),), rate_hz=8.0, length=SIZE, hop=SIZE)


def seen(folder: Path, *sources: str) -> dict[str, Finding]:
    """What it finds of each source, by name."""
    replace(variant(), stream=STREAM).write(folder / "model.hwb")
    (folder / "agent.toml").write_text(TOML + "".join(sources))
    findings = examine(folder / "agent.toml", SystemClock(), Machine())
    return {each.check.removeprefix("source "): each for each in findings if each.check.startswith("source ")}


def test_sources_in_order_are_good(tmp_path: Path, broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    far, near = os.openpty()
    device = tmp_path / "iio:device0"
    device.mkdir()
    for name, content in {"name": "lis3dh", "in_accel_x_raw": "1"}.items():
        (device / name).write_text(content)
    monkeypatch.setattr(iio, "DEVICES", tmp_path)
    found = seen(
        tmp_path,
        f"[source.program]\ncommand = [{sys.executable!r}]\n",
        f'[source.line]\nkind = "serial"\npath = "{os.ttyname(near)}"\n',
        f'[source.home]\nkind = "mqtt"\nhost = "{broker.host}"\nport = {broker.port}\ntopics = ["a"]\n',
        '[source.chip]\nkind = "iio"\npath = "lis3dh"\n',
        '[source.pipe]\nkind = "stdin"\n',
    )
    assert {name: each.state for name, each in found.items()} == dict.fromkeys(
        ("program", "line", "home", "chip", "pipe"), State.GOOD
    )
    assert found["home"].text == f"{broker.host}:{broker.port} answers"
    assert found["chip"].text.endswith("iio:device0 has accel_x")
    os.close(far)
    os.close(near)


def test_each_failure_of_a_source_has_its_fix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(iio, "DEVICES", tmp_path)
    found = seen(
        tmp_path,
        '[source.program]\ncommand = ["no-such-program"]\n',
        '[source.line]\nkind = "serial"\npath = "/dev/ttyUSB77"\n',
        f'[source.home]\nkind = "mqtt"\nhost = "127.0.0.1"\nport = {free_port()}\ntopics = ["a"]\n',
        '[source.chip]\nkind = "iio"\npath = "lis3dh"\n',
        '[source.names]\ncommand = ["true"]\nchannels = ["accel_y"]\n',
        '[source.whole]\ncommand = ["true"]\neach = "window"\nshape = [3]\n',
    )
    assert {each.state for each in found.values()} == {State.FAILED}
    said = {name: (each.text, each.fix) for name, each in found.items()}
    assert said["program"] == ("there is no program 'no-such-program'", "install it, or correct source.command")
    assert said["line"] == ("/dev/ttyUSB77 does not exist", "is it plugged in?")
    assert "refused" in said["home"][0]
    assert said["chip"] == ("there is no IIO device 'lis3dh'; found: none", "is its driver loaded?")
    assert "channel 'accel_x' comes not among accel_y" in " ".join(said["names"])
    assert "let the source write 8" in said["whole"][1]
    assert len({each.exit_code for each in found.values()}) == 3
