"""Answers and labels of a real agent: each once, whoever is killed; and docs/howto/answers.md runs as it stands."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from edge_agent.config import read_config
from edge_agent.label_doors import LabelFiles
from headway.mqtt import MqttSettings
from headway.mqtt.transport import MqttTransport
from headway.ports import Connected, Outgoing, Received, SystemClock, TransportEvent
from headway.wire import GivenLabel, GivenLabels, Kind, WindowAnswer, topic
from testbed.broker import Broker, die_with_parent
from tests.project.files import ROOT
from tests.system.conftest import BIN, WAIT_S, Device, wait_until
from tests.system.make_model import CLASSES, data
from tests.system.test_agent import expected, learned, status

pytestmark = [pytest.mark.system, pytest.mark.broker]
NewDevice = Callable[..., Device]
PAGE = ROOT / "docs" / "howto" / "answers.md"
ROWS, BATCHES = 8, 3


def lines(device: Device) -> list[WindowAnswer]:
    file = device.folder / "answers.jsonl"
    return [WindowAnswer.decode(line) for line in file.read_bytes().splitlines()] if file.exists() else []


def has_more(device: Device, answered: int) -> bool:
    return len(lines(device)) > answered


@contextmanager
def listening(broker: Broker, device: str) -> Iterator[tuple[MqttTransport, list[WindowAnswer]]]:
    """A program that reads a device's answers from the broker, and may publish."""
    heard: list[WindowAnswer] = []
    connected = threading.Event()

    def take(event: TransportEvent) -> None:
        if isinstance(event, Connected):
            connected.set()
        elif isinstance(event, Received):
            heard.append(WindowAnswer.decode(event.payload))

    settings, own = MqttSettings(broker.host, broker.port), topic("test", device, Kind.ANSWERS)
    transport = MqttTransport(settings, "reader", (own,), Outgoing("test/reader", b""), take)
    transport.start()
    try:
        assert connected.wait(WAIT_S)
        yield transport, heard
    finally:
        transport.stop()


def test_answers_and_labels_count_once_whoever_is_killed(
    new_device: NewDevice, fresh_broker: Broker, bundle: Path
) -> None:
    extra = '[answers]\nmqtt = true\nmqtt_labels = true\nfile = "answers.jsonl"\n'
    device = new_device("pump", fresh_broker, extra)
    x, y = data(BATCHES * ROWS, seed=4)
    (device.folder / "spool").mkdir()
    files = LabelFiles(read_config(device.config).sensor, SystemClock())

    def given(rows: range) -> GivenLabels:
        return GivenLabels(tuple(GivenLabel(f"w-{row}", CLASSES[y[row]]) for row in rows))

    with listening(fresh_broker, "pump") as (transport, heard):
        for batch in range(BATCHES):
            rows = range(batch * ROWS, (batch + 1) * ROWS)
            device.start()
            # one half before its windows, twice; the other half with them
            files.write(given(rows[: ROWS // 2]))
            device.drop(f"b{batch}", x=x[rows.start : rows.stop], id=np.array([f"w-{row}" for row in rows]))
            files.write(given(rows[ROWS // 2 :]))
            files.write(given(rows[: ROWS // 2]))
            wait_until(partial(has_more, device, rows.start), "the first answers of the batch")
            device.kill()
        device.start()
        wait_until(lambda: status(device)["labels"] == len(x), "every label")
        wait_until(
            lambda: {each.id for each in heard} == {f"w-{row}" for row in range(len(x))}, "answers at the broker"
        )
        wrong = GivenLabel("w-0", CLASSES[(y[0] + 1) % len(CLASSES)])
        y[0] = (y[0] + 1) % len(CLASSES)
        labels = topic("test", "pump", Kind.LABELS)
        transport.publish(Outgoing(labels, GivenLabels((wrong, GivenLabel("w-1"))).encode()))
        y[1] = -1
        wait_until(lambda: learned(device, bundle) == expected(bundle, x, y), "the label over the broker")
        assert device.stop() == 0
    places = [(answer.sequence, answer.row) for answer in lines(device)]
    assert len(places) == len(set(places)) == len(x)
    assert places == sorted(places)
    assert {answer.id for answer in lines(device)} == {f"w-{row}" for row in range(len(x))}


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    return port


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)


def test_the_page_runs(new_device: NewDevice, broker: Broker, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port = str(free_port())
    device = new_device("pump-7", broker, blocks("toml")[0].replace("8351", port))
    (device.folder / "answers.token").write_text("0123456789abcdef0123456789abcdef\n")
    device.start()
    x, _ = data(ROWS, seed=4)
    device.drop("first", x=x, id=np.array([f"w-{row}" for row in range(20, 20 - ROWS, -1)]))
    wait_until(lambda: len(lines(device)) == ROWS, "answers")
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"}

    def shell(block: str) -> str:
        command = ["bash", "-ec", block.replace("8351", port)]
        return subprocess.run(
            command, cwd=device.folder, env=environment, check=True, capture_output=True, text=True, timeout=60
        ).stdout

    label, http, _ = blocks("sh")
    began, ends = datetime.now() - timedelta(hours=1), datetime.now() + timedelta(days=1)
    span = label.replace("2026-11-29T10:03", f"{began:%Y-%m-%dT%H:%M}")
    span = span.replace("2026-11-29T10:20", f"{ends:%Y-%m-%dT%H:%M}")
    assert shell(span).count("waits in the spool") == 3
    wait_until(lambda: learned(device, bundle).samples == ROWS, "the label of a span, of windows that came today")
    taken_back = span.splitlines()[-1].replace("walk ", "--undo ")
    assert shell(taken_back).count("waits in the spool") == 1
    wait_until(lambda: learned(device, bundle).samples == 0, "that it is taken back")
    answers, accepted = shell(http).replace("}{", "}\n{").splitlines()
    assert [row["row"] for row in json.loads(answers)["answers"]] == list(range(1, ROWS))
    assert json.loads(accepted)["accepted"].startswith("labels-")
    wait_until(lambda: learned(device, bundle).samples == 1, "the label over HTTP")

    monkeypatch.chdir(device.folder)
    names: dict[str, object] = {}
    reader = threading.Thread(target=exec, args=(compile(blocks("python")[0], PAGE.name, "exec"), names), daemon=True)
    reader.start()
    dropped = 0

    def read() -> bool:
        nonlocal dropped
        if len(lines(device)) == ROWS + dropped:
            device.drop(f"more-{dropped}", x=x[:1], id=np.array([f"more-{dropped}"]))
            dropped += 1
        return not reader.is_alive()

    wait_until(read, "an answer on the socket, and what became of the label")
    assert "accepted" in names["reply"]  # type: ignore[operator]
    (answer,) = map(json.loads, blocks("json"))
    assert set(answer) == set(json.loads(lines(device)[0].encode()))


def test_the_button_labels_the_newest_window(new_device: NewDevice, tmp_path: Path) -> None:
    device = new_device("pump", None, '[answers]\nsocket = "answers.sock"\nfile = "answers.jsonl"\n')
    fake = tmp_path / "fake"
    fake.mkdir()
    # a button that is pressed by a line on stdin
    (fake / "gpiozero.py").write_text(
        "import sys, threading\n"
        "class Button:\n"
        "    def __init__(self, pin, bounce_time):\n"
        "        threading.Thread(target=self.wait, daemon=True).start()\n"
        "    def wait(self):\n"
        "        for line in sys.stdin:\n"
        "            self.when_pressed()\n"
    )
    device.start()
    wait_until((device.folder / "answers.sock").exists, "the socket")
    command = [sys.executable, str(ROOT / "examples" / "label_by_button.py"), "answers.sock", "fall", "17"]
    environment = {**os.environ, "PYTHONPATH": str(fake)}
    button = subprocess.Popen(
        command, cwd=device.folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        preexec_fn=die_with_parent,
    )  # fmt: skip
    assert button.stdin is not None
    assert button.stdout is not None
    heard: list[str] = []
    threading.Thread(target=lambda: heard.extend(iter(button.stdout.readline, "")), daemon=True).start()
    x, _ = data(1, seed=4)
    dropped = 0

    def hears() -> bool:
        nonlocal dropped
        if len(lines(device)) == dropped:
            device.drop(f"w{dropped}", x=x, id=np.array([f"w-{dropped}"]))
            dropped += 1
        return len(heard) > 0

    wait_until(hears, "an answer at the button")
    print("press", file=button.stdin, flush=True)
    wait_until(lambda: status(device)["labels"] == 1, "the label of the button")
    button.kill()
    button.wait()
    assert any(line.startswith("labels-") for line in heard)
