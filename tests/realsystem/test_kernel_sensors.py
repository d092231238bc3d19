"""Sensors through the kernel's own drivers, read by the service of our package: IIO, its buffer, serial, ALSA, V4L2.

A virtual machine with Debian's full kernel has chips that are registers (i2c-stub: an LIS3DH accelerometer, an INA226
power monitor), a camera that draws colour bars (vivid), a sound card whose input is its output (snd-aloop), and a UART
whose far end is this test. Settings, drop-ins, the udev rule and the script that enables a buffer are the how-tos'.
`make system-test`; slow (QEMU without KVM), needs root.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from testbed.debian import Debian
from testbed.debian import why_not as no_debian
from testbed.virtual import MACHINES, Virtual, why_not
from testbed.virtual_system import SystemImage
from tests.architecture.rules import ROOT
from tests.realsystem.make_sensor_models import CLASSES, STREAMS
from tests.realsystem.packages import package
from tests.system.conftest import BIN

REASON = no_debian() or why_not(MACHINES["amd64"])
pytestmark = [
    pytest.mark.slow,
    pytest.mark.system,
    pytest.mark.skipif(bool(REASON), reason=REASON or "machines are emulated"),
]
PROGRAM = ROOT / "testbed" / "guest_sensors.py"
HOWTO = ROOT / "docs" / "howto"
PACKAGES = (
    "systemd", "systemd-sysv", "dbus", "udev", "kmod", "python3", "openssl", "ca-certificates", "procps", "ffmpeg",
    "alsa-utils", "i2c-tools",
)  # fmt: skip
HARDWARE = ("i2c_dev", "i2c_stub", "ina2xx_adc", "st_accel_i2c", "snd_aloop", "vivid")
DISK_MB = 2500
PROOF_TIMEOUT_S = 3000.0
LINE_S = 0.05
# what these give must be answered as it comes: an emulated processor keeps up with it, unless others take it away
FAST = {"sound", "camera"}
# the share of its time that the emulated processor may wait for a real one, and still keep up
WAITED_MAX = 0.05
AGENT_TOML = """\
[device]
id = "{name}"
[bundle]
path = "/etc/headway/{bundle}.hwb"
[storage]
state_dir = "/var/lib/edge-agent/{name}"
[sensor]
spool_dir = "/var/spool/headway/in"
predictions_dir = "/var/spool/headway/predictions"
[answers]
file = "/var/lib/edge-agent/{name}/answers.jsonl"
"""
SOURCES = {
    "power": '[source]\nname = "power"\nkind = "iio"\npath = "ina226"\nbuffer = true\nrate_hz = 113.0\n',
    "tilt": '[source]\nname = "tilt"\nkind = "iio"\npath = "lis3dh"\nrate_hz = 20.0\n',
}


def blocks(page: str, kind: str) -> list[str]:
    return [block.split("```")[0] for block in (HOWTO / page).read_text().split(f"```{kind}\n")[1:]]


def block(page: str, kind: str, holds: str, **changes: str) -> str:
    """The block of a page that holds a text; names of devices are of this machine instead of the page's."""
    (found,) = (text for text in blocks(page, kind) if holds in text)
    for old, new in changes.items():
        assert PAGES_OWN[old] in found
        found = found.replace(PAGES_OWN[old], new)
    return found


PAGES_OWN = {"port": "/dev/ttyUSB0", "card": "plughw:1,0", "names": '"x", "y", "z"'}


@pytest.fixture(scope="module")
def proof() -> Iterator[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="headway-sensors-") as name:
        folder = Path(name)
        image = _image(folder)
        outside = folder / "uart"
        serial = ("-serial", "mon:stdio", "-serial", f"unix:{outside},server=on,wait=off")
        machine = Virtual(image, None, "systemd.show_status=false", *serial)
        sender = Sender(outside)
        try:
            machine.wait_for("TURN", PROOF_TIMEOUT_S)
            sender.turn()
            before = machine.processor_s()
            found = json.loads(machine.wait_for("PROOF ", PROOF_TIMEOUT_S))
            ran_s, waited_s = (now - was for now, was in zip(machine.processor_s(), before, strict=True))
            found["waited"] = waited_s / (ran_s + waited_s)
        finally:
            machine.cut()
            sender.close()
        print(found)
        yield found


class Sender:
    """A microcontroller at the far end of the serial line: twenty lines a second, of 1 g upwards or sideways."""

    def __init__(self, path: Path) -> None:
        self._path, self._turned, self._ended = path, threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._send, daemon=True)
        self._thread.start()

    def turn(self) -> None:
        self._turned.set()

    def close(self) -> None:
        self._ended.set()
        self._thread.join()

    def _send(self) -> None:
        while not self._path.exists() and not self._ended.wait(0.1):
            continue
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(str(self._path))
            line.settimeout(1.0)
            while not self._ended.wait(LINE_S):
                try:
                    line.sendall(b"1000,3,-2\r\n" if self._turned.is_set() else b"-4,2,1000\r\n")
                except TimeoutError:
                    continue  # nobody reads it yet
                except OSError:
                    return  # the machine is off


def _image(folder: Path) -> SystemImage:
    """Our package and a folder of settings for each sensor."""
    image = SystemImage(MACHINES["amd64"], folder, Debian("bookworm", PACKAGES), PROGRAM, HARDWARE)
    tree = image.tree
    shutil.copy(package("headway-agent", "deb12", "amd64", folder), tree / "root" / "agent.deb")
    image.run("dpkg", "--install", "/root/agent.deb")
    for bundle in _bundles(folder):
        shutil.copy(bundle, tree / "etc" / "headway" / bundle.name)
    sources = SOURCES | {
        "press": block("sensors.md", "toml", "/dev/ttyUSB0", port="/dev/ttyS1", names='"accel_x", "accel_y", "accel_z"')
        .replace("rate_hz = 100.0", "rate_hz = 20.0"),
        "sound": block("microphone.md", "toml", "arecord", card="plughw:Loopback,1"),
        "camera": block("sensors.md", "toml", "/dev/video0"),
    }  # fmt: skip
    drop_ins = {
        "power": block("vibration.md", "ini", "ExecStartPre"),
        "press": block("sensors.md", "ini", "dialout", port="/dev/ttyS1"),
        "sound": block("microphone.md", "ini", "char-alsa"),
        "camera": block("sensors.md", "ini", "dialout").replace("/dev/ttyUSB0 r", "char-video4linux rw")
        .replace("dialout", "video"),
    }  # fmt: skip
    for name, source in sources.items():
        place, bundle = tree / "root" / "sensors" / name, "tilt" if name == "press" else name
        place.mkdir(parents=True)
        (place / "agent.toml").write_text(AGENT_TOML.format(name=name, bundle=bundle) + source)
        if name in drop_ins:
            (place / "drop-in.conf").write_text(drop_ins[name])
        first, second = CLASSES[bundle] if name != "camera" else ("bars", "")
        (place / "before").write_text(first)
        (place / "after").write_text(second)
    script = tree / "usr" / "local" / "sbin" / "headway-iio-buffer"
    text = block("vibration.md", "sh", "scan_elements")
    ours = {"accel_x accel_y accel_z": "voltage1 current3", 'echo 400 > "$device/sampling_frequency"':
            'echo 4 > "$device/in_oversampling_ratio"'}  # fmt: skip
    for old, new in ours.items():
        assert old in text
        text = text.replace(old, new)
    script.write_text(text)
    script.chmod(0o755)
    for page in ("vibration.md", "sensors.md"):
        (rule,) = (text for text in blocks(page, "") if text.startswith("SUBSYSTEM"))
        (tree / "etc" / "udev" / "rules.d" / f"60-headway-{page}.rules").write_text(rule)
    with wave.open(str(tree / "root" / "tone.wav"), "wb") as tone:
        tone.setnchannels(1)
        tone.setsampwidth(2)
        tone.setframerate(16_000)
        turns = np.arange(16_000 * 600) * 440 / 16_000
        tone.writeframes((16_000 * np.sin(2 * np.pi * turns)).astype("<i2").tobytes())
    image.seal(DISK_MB)
    return image


def _bundles(folder: Path) -> Iterator[Path]:
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    command = [sys.executable, "-m", "tests.realsystem.make_sensor_models", str(folder)]
    subprocess.run(command, check=True, env=environment)
    for name in CLASSES:
        words = [str(BIN / "edge-convert"), f"{name}.keras", "--data", f"{name}.npz", "--out", f"{name}.hwb"]
        words += ["--stream", f"{name}.toml"] if name in STREAMS else []
        subprocess.run(words, cwd=folder, check=True, capture_output=True, env=environment)
        yield folder / f"{name}.hwb"


@pytest.mark.parametrize("sensor", ["power", "tilt", "press", "sound", "camera"])
def test_what_the_kernel_reads_is_answered(proof: dict[str, Any], sensor: str) -> None:
    """Before and after what the sensor measures has changed; the service never had to be started again."""
    found, (first, second) = proof[sensor], CLASSES["tilt" if sensor == "press" else sensor]
    if sensor == "camera":
        assert set(found["before"]) == {second}
    else:
        assert (set(found["before"]), set(found["after"])) == ({first}, {second})
    assert found["restarts"] == "0"
    assert found["latency"]["answers"] > 0
    began = time.strptime(found["id"].rpartition("-")[2][:15], "%Y%m%dT%H%M%S")
    assert began.tm_year >= 2026, "windows are called by the time of their first row"
    if starved_and_told(found["problems"], sensor, proof["waited"]):
        pytest.skip(f"other programs had the processors for {proof['waited']:.0%} of the time: {found['problems']}")
    assert found["problems"] == []


def starved_and_told(problems: list[dict[str, Any]], sensor: str, waited: float) -> bool:
    """Whether all that went wrong is that a machine without room dropped some of what a fast sensor gave."""
    kinds = {problem["kind"].partition(" ")[0] for problem in problems}
    return sensor in FAST and waited > WAITED_MAX and kinds == {"input-dropped"}


def test_the_chips_are_those_of_the_how_to(proof: dict[str, Any]) -> None:
    assert set(proof["devices"].values()) == {"ina226", "lis3dh"}
