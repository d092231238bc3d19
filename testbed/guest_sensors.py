"""Runs as a service in a virtual machine (`testbed.virtual_system`): the agent's sources on drivers of the kernel.

The chips are the kernel's own stand-ins (i2c-stub, vivid, snd-aloop), and a serial port whose far end is outside; the
drivers, the core of IIO, its buffer, V4L2 and ALSA are those of any machine. Each folder of /root/sensors has a
configuration and, where the unit must open a device, the drop-in of the how-to. Prints "TURN" when the far end should
turn, in the end "PROOF {...}": the answers of each sensor before and after what it measures has changed.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

UNIT = "edge-agent.service"
SENSORS = Path("/root/sensors")
STATE, DROP_IN = Path("/var/lib/private/edge-agent"), Path(f"/run/systemd/system/{UNIT}.d/sensor.conf")
IIO, I2C = Path("/sys/bus/iio/devices"), Path("/sys/bus/i2c/devices")
WAIT_S = 400.0
ACCELEROMETER, POWER = "0x19", "0x40"
# what 1 g is to a LIS3DH at 2 g full scale, 12 bits in the upper part of a word
ONE_G = 1000 << 4


def main() -> None:
    found: dict[str, object] = {}
    try:
        prepare()
        found["devices"] = {path.name: (path / "name").read_text().strip() for path in sorted(IIO.glob("iio:device*"))}
        for name, turn in TURNS.items():
            found[name] = proof(name, turn)
        print("PROOF " + json.dumps(found), flush=True)
    except (subprocess.SubprocessError, RuntimeError, OSError, ValueError) as stuck:
        for line in run("journalctl", "--no-pager", "--output=cat", "--lines=25", check=False).splitlines():
            print(f"LOG {line}", flush=True)
        print(f"STUCK {stuck} {json.dumps(found)}", flush=True)
    run("systemctl", "poweroff", "--force", "--force", check=False)


def prepare() -> None:
    """Chips on a bus that is none, a camera that draws colour bars, a sound card whose input is its output."""
    run("modprobe", "i2c-dev")
    run("modprobe", "i2c-stub", f"chip_addr={ACCELEROMETER},{POWER}")
    for register in ("0x0f", "0x8f"):
        poke(ACCELEROMETER, register, "0x33")
    accelerate(0, 0, ONE_G)
    # of an INA226: a conversion is ready, always
    poke(POWER, "0x06", "0x0800", "w")
    supply(4000)
    for driver in ("ina2xx-adc", "st_accel_i2c", "snd-aloop"):
        run("modprobe", driver)
    run("modprobe", "vivid", "n_devs=1", "node_types=0x1")
    for chip, address in (("ina226", POWER), ("lis3dh", ACCELEROMETER)):
        (bus() / "new_device").write_text(f"{chip} {address}")
    run("udevadm", "settle")


def proof(name: str, turn: Callable[[], object] | None) -> dict[str, object]:
    """Start the service with this sensor; what it answers before and after the turn. Raises TimeoutError."""
    folder = SENSORS / name
    shutil.copy(folder / "agent.toml", "/etc/headway/agent.toml")
    DROP_IN.parent.mkdir(parents=True, exist_ok=True)
    DROP_IN.unlink(missing_ok=True)
    if (folder / "drop-in.conf").exists():
        shutil.copy(folder / "drop-in.conf", DROP_IN)
    run("systemctl", "daemon-reload")
    run("systemctl", "start", UNIT)
    answers = STATE / name / "answers.jsonl"
    before = labels(answers, 0, folder.joinpath("before").read_text())
    after: list[str] = []
    if turn is not None:
        turn()
        after = labels(answers, len(before), folder.joinpath("after").read_text())
    # started beside the agent it would take the processor from it for many seconds; so it takes what is left over
    asked = ("edge-agent", "status", "--json", "/etc/headway/agent.toml")
    status = json.loads(run("systemd-run", "--quiet", "--wait", "--pipe", "--property=CPUWeight=1", *asked))
    run("systemctl", "stop", UNIT)
    return {
        "before": before[-3:],
        "after": after[-3:],
        "id": json.loads(answers.read_text().splitlines()[-1])["id"],
        "latency": status["latency"],
        "problems": status["problems"],
        "restarts": run("systemctl", "show", "--value", "--property=NRestarts", UNIT),
    }


def labels(answers: Path, known: int, wanted: str) -> list[str]:
    """Those of all answers, once the newest three after the known ones are what is wanted. Raises TimeoutError."""
    deadline = time.monotonic() + WAIT_S
    found: list[str] = []
    while time.monotonic() < deadline:
        if answers.exists():
            found = [json.loads(line)["label"] for line in answers.read_text().splitlines() if line.endswith("}")]
        if len(found) >= known + 3 and set(found[-3:]) == {wanted}:
            return found
        time.sleep(0.5)
    raise TimeoutError(f"waited {WAIT_S:.0f} s for {wanted} in {answers}, which has {found[-5:]}")


def accelerate(*axes: int) -> None:
    for axis, value in enumerate(axes):
        for at, byte in enumerate((value & 0xFF, value >> 8)):
            for multiple in (0, 0x80):
                poke(ACCELEROMETER, hex(0x28 + 2 * axis + at + multiple), hex(byte))


def supply(raw: int) -> None:
    """The bus voltage, 1.25 mV each; words of the chip are big-endian."""
    poke(POWER, "0x02", f"0x{raw & 0xFF:02x}{raw >> 8:02x}", "w")


def play() -> None:
    subprocess.Popen(["aplay", "-q", "-D", "plughw:Loopback,0", "/root/tone.wav"])


def turn_outside() -> None:
    print("TURN", flush=True)


def poke(chip: str, register: str, value: str, *kind: str) -> None:
    run("i2cset", "-y", "-f", bus().name.removeprefix("i2c-"), chip, register, value, *kind)


def bus() -> Path:
    return next(path for path in I2C.glob("i2c-*") if "stub" in (path / "name").read_text())


def run(*command: str, check: bool = True) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()[-300:]}")
    return done.stdout.strip()


TURNS: dict[str, Callable[[], object] | None] = {
    "power": lambda: supply(8000),
    "tilt": lambda: accelerate(ONE_G, 0, 0),
    "press": turn_outside,
    "sound": play,
    "camera": None,
}

if __name__ == "__main__":
    main()
