"""check, doctor, diag and watch: each failure with its fix and its family's code, no secret, no forged line."""

from __future__ import annotations

import io
import json
import os
import sys
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from edge_agent import commands
from edge_agent.cli import main
from edge_agent.commands import doctor, examine, exit_code, explain, findings_text, status, watch_device
from edge_agent.commands.doctor import Finding, State
from edge_agent.commands.watch import BARS, PLAIN_BARS, Look, Picture, draw, look_of
from edge_agent.config import read_config
from edge_agent.daemon import Daemon
from edge_agent.delivery.pointer import Pointer, write_pointer
from edge_agent.startup import active_bundle
from headway.bundle import PUBLIC_KEY_PREFIX
from headway.errors import BundleError, RuntimeUnavailableError, StoreError, TransportError
from tests.device import ManualClock
from tests.edge_agent.variants import IdentityRuntime, variant
from tests.headway.bundles import PUBLIC_KEY

TOML = """\
[device]
id = "pump"
fleet = "plant"
[bundle]
path = "model.hwb"
[storage]
state_dir = "state"
[sensor]
spool_dir = "spool"
predictions_dir = "predictions"
"""


class Machine:
    """Implements `MachineHealth`."""

    def __init__(self, disk: int | None = 1 << 33, memory: int | None = 1 << 29, temperature: float | None = 41.0):
        self._values = disk, memory, temperature

    def disk_free_bytes(self) -> int | None:
        return self._values[0]

    def memory_free_bytes(self) -> int | None:
        return self._values[1]

    def temperature_c(self) -> float | None:
        return self._values[2]


@pytest.fixture
def toml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for module in (active_bundle, doctor):
        monkeypatch.setattr(module, "open_runtime", lambda variant, clock=None: IdentityRuntime())
    variant().write(tmp_path / "model.hwb")
    (tmp_path / "agent.toml").write_text(TOML)
    return tmp_path / "agent.toml"


def has_run(toml: Path) -> None:
    Daemon(read_config(toml), ManualClock()).run(once=True)


def found(toml: Path, check: str, machine: Machine | None = None, clock: ManualClock | None = None) -> Finding:
    """The worst of one kind."""
    order = [State.FAILED, State.WARNING, State.GOOD, State.SKIPPED]
    findings = examine(toml, clock or ManualClock(), machine or Machine())
    return min((each for each in findings if each.check == check), key=lambda each: order.index(each.state))


def test_a_delivered_bundle_that_its_disk_has_damaged_has_a_fix(toml: Path) -> None:
    has_run(toml)
    slot = toml.parent / "state" / "slots" / "a"
    slot.mkdir(parents=True)
    payload = bytearray(variant().encode())
    payload[-1] ^= 1
    (slot / "bundle.hwb").write_bytes(payload)
    write_pointer(slot.parent, Pointer(active="a"))
    damaged = found(toml, "agent")
    assert (damaged.state, damaged.exit_code) == (State.FAILED, BundleError.exit_code)
    assert "does not match its sha256" in damaged.text
    assert damaged.fix == "sudo systemctl restart edge-agent, which goes back to the bundle before"


def test_a_disk_without_room_for_more_files_is_full_too(toml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As df -i shows it, while df shows gigabytes."""
    disk = SimpleNamespace(f_files=1000, f_favail=7)
    monkeypatch.setattr(os, "statvfs", lambda folder: disk)
    full = found(toml, "disk")
    assert (full.state, full.exit_code) == (State.FAILED, StoreError.exit_code)
    assert "but for 7 more files (inodes)" in full.text
    assert "df -i" in full.fix
    disk.f_files = disk.f_favail = 0  # a file system that makes them as they are needed
    assert found(toml, "disk").state is State.GOOD


def test_a_device_in_order_has_nothing_to_mend(toml: Path) -> None:
    has_run(toml)
    findings = examine(toml, ManualClock(), Machine())
    assert exit_code(findings) == 0
    not_good = {each.check: each.text for each in findings if each.state not in (State.GOOD, State.SKIPPED)}
    assert not_good == {"agent": "it does not run"}
    kinds = {each.check for each in findings}
    assert kinds >= {"bundle", "runtime", "broker", "certificate", "clock", "disk", "permissions", "sensors"}


def test_each_failure_has_a_fix_and_the_code_of_its_family(toml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_runtime(variant: object) -> IdentityRuntime:
        raise RuntimeUnavailableError("no runtime here can run it; install ai-edge-litert")

    monkeypatch.setattr(doctor, "open_runtime", no_runtime)
    runtime = found(toml, "runtime")
    assert (runtime.fix, runtime.exit_code) == ("install ai-edge-litert", RuntimeUnavailableError.exit_code)
    assert exit_code(examine(toml, ManualClock(), Machine())) == RuntimeUnavailableError.exit_code
    disk = found(toml, "disk", Machine(disk=1 << 20))
    assert disk.state is State.FAILED
    assert "free some" in disk.fix
    assert disk.exit_code == 7
    assert found(toml, "disk", Machine(disk=None)).exit_code == 7
    hot = found(toml, "temperature", Machine(temperature=85.0))
    assert hot.state is State.WARNING
    assert "cool it" in hot.fix
    assert found(toml, "temperature", Machine(temperature=None)).state is State.SKIPPED
    assert "set-ntp" in found(toml, "clock", clock=ManualClock(wall=40.0)).fix
    (toml.parent / "model.hwb").write_bytes(b"no bundle")
    assert found(toml, "bundle").exit_code == BundleError.exit_code
    toml.write_text(TOML.replace("fleet", "flet"))
    (only,) = examine(toml, ManualClock(), Machine())
    assert only.exit_code == 2
    assert "flet" in only.text
    assert "edge-agent check" in only.fix


@pytest.mark.parametrize(
    ("old", "new", "check", "fix"),
    [
        ('"model.hwb"', '"."', "bundle", "copy the bundle here once more"),
        ('"model.hwb"', '"model.hwb"\npublic_key = "none.pub"', "bundle", "public_key in [bundle]"),
        ('state_dir = "state"', 'state_dir = "model.hwb"', "permissions", "correct the path"),
        ('[device]', '[mqtt]\nhost = "127.0.0.1"\nport = 1\n[sync]\nhead_keys = "none"\n[device]', "head keys", "keys"),
        ('[device]', '[sensr]\n[device]', "configuration", "did you mean 'sensor'?; mend"),
    ],
)  # fmt: skip
def test_a_failure_whose_error_names_no_fix_has_one(toml: Path, old: str, new: str, check: str, fix: str) -> None:
    assert old in TOML
    toml.write_text(TOML.replace(old, new))
    assert found(toml, check).state is State.FAILED
    assert fix in found(toml, check).fix


def test_head_keys_need_what_can_check_seals_and_no_program_beside_it(
    toml: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (toml.parent / "keys.pub").write_text(f"{PUBLIC_KEY_PREFIX}{PUBLIC_KEY.hex()}\n")
    toml.write_text(f'{TOML}[sync]\nhead_keys = "keys.pub"\n')
    monkeypatch.setenv("PATH", str(toml.parent))
    assert found(toml, "head keys").state is State.GOOD
    monkeypatch.setattr("headway.bundle.ed25519.loaded_libcrypto", lambda: None)
    monkeypatch.setitem(sys.modules, "cryptography.exceptions", None)  # type: ignore[arg-type]  # not installed
    without = found(toml, "head keys")
    assert without.state is State.FAILED
    assert "apt install openssl" in without.text


def test_where_there_is_no_configuration_the_fix_makes_one(tmp_path: Path) -> None:
    (only,) = examine(tmp_path / "none.toml", ManualClock(), Machine())
    assert "edge-agent init --config" in only.fix


def test_files_of_every_format_wait(toml: Path) -> None:
    (toml.parent / "spool").mkdir()
    for name in ("a.npz", "b.csv", ".c.npz"):
        (toml.parent / "spool" / name).touch()
    assert ": 2 files wait" in found(toml, "sensors").text


def test_a_broker_that_is_not_there_and_a_secret_that_is_open_are_found(toml: Path) -> None:
    secret = toml.parent / "password"
    secret.write_text("hush")
    secret.chmod(0o644)
    # port 1 of this machine: refused at once
    mqtt = f'[mqtt]\nhost = "127.0.0.1"\nport = 1\nusername = "me"\npassword_file = "{secret}"\n'
    toml.write_text(TOML + mqtt)
    broker = found(toml, "broker")
    assert broker.exit_code == TransportError.exit_code
    assert "127.0.0.1:1" in broker.text
    assert broker.fix
    assert found(toml, "permissions").fix == f"sudo chmod o= {secret}"


def test_refused_files_are_told_with_the_newest_reason_in_one_line(toml: Path) -> None:
    has_run(toml)
    rejected = toml.parent / "spool" / "rejected"
    rejected.mkdir(exist_ok=True)
    (rejected / "a.npz.reason").write_text("no array x\x1b[2J\n")
    sensors = found(toml, "sensors")
    assert sensors.state is State.WARNING
    assert "no array x" in sensors.text


def test_the_command_prints_text_or_json_and_leaves_with_the_code(
    toml: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (toml.parent / "model.hwb").write_bytes(b"no bundle")
    assert main(["doctor", str(toml), "--json"]) == BundleError.exit_code
    rows = json.loads(capsys.readouterr().out)
    assert {row["check"]: row["state"] for row in rows}["bundle"] == "failed"
    assert main(["doctor", str(toml)]) == BundleError.exit_code
    assert "fix: " in capsys.readouterr().out


def test_check_says_what_is_wrong_before_a_start_does(toml: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(toml)]) == 0
    assert "is good: device pump, fleet plant, bundle" in capsys.readouterr().out
    toml.write_text(TOML + '[mqtt]\nhost = "broker"\ntls = true\nca_file = "missing.pem"\n')
    assert main(["check", str(toml)]) == 2
    assert "missing.pem" in capsys.readouterr().err
    assert not (toml.parent / "state").exists(), "nothing is started or made"


def members(archive: Path) -> dict[str, str]:
    with zipfile.ZipFile(archive) as opened:
        return {Path(name).name: opened.read(name).decode() for name in opened.namelist()}


def test_an_archive_holds_no_secret_and_comes_about_whatever_is_broken(toml: Path, tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("correct-horse")
    login = f'[mqtt]\nhost = "127.0.0.1"\nport = 1\nusername = "erika"\npassword_file = "{secret}"\n# correct-horse\n'
    toml.write_text(TOML + login)
    out = tmp_path / "diag.zip"
    assert main(["diag", str(toml), "--out", str(out)]) == 0
    assert os.stat(out).st_mode & 0o777 == 0o600
    held = members(out)
    assert "not there" in held["status.json"], "the agent has never run"
    assert "broker" in held["doctor.txt"]
    assert "runtimes" in held["versions.json"]
    assert "pump" in held["agent.toml"]
    assert not any(word in text for text in held.values() for word in ("correct-horse", "erika"))
    toml.write_text('[device\npassword = "hush-hush"\n')
    assert main(["diag", str(toml), "--out", str(out)]) == 0
    assert "hush-hush" not in members(out)["agent.toml"]
    assert main(["diag", str(toml), "--out", str(tmp_path / "none" / "x.zip")]) == 7


@pytest.mark.parametrize(("width", "height"), [(30, 8), (80, 24), (200, 50)])
def test_a_picture_keeps_to_the_terminal_and_only_shows_hostile_names(toml: Path, width: int, height: int) -> None:
    has_run(toml)
    config, clock = read_config(toml), ManualClock()
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    watch_device(config, clock, out, 1.0, 1, live=False, colour=False)
    out.seek(0)
    assert "\x1b" not in out.read()
    from edge_agent.commands import read_status

    shown = read_status(config, clock)
    shown |= {"device": "pump\x1b[2J\x1b]0;owned\x07\n\u202e", "running": True, "condition": "x" * 500}
    looks = [Look(float(second), second * second, second, second / 90) for second in range(90)]
    lines = draw(shown, [*looks, look_of(shown, 90.0)], Picture(width, height, False), clock)
    assert max(map(len, lines)) <= width
    assert not any(character in line for line in lines for character in "\x1b\x07\n\u202e")


def test_a_chart_shows_the_newest_values_and_what_is_not_known() -> None:
    picture = Picture(80, 24, False)
    assert picture.chart([0.0, 0.5, 1.0, float("nan")], 0.0, 1.0) == f"{BARS[0]}{BARS[4]}{BARS[-1]}·"
    assert Picture(80, 24, False, PLAIN_BARS).chart([1.0, float("nan")], 0.0, 1.0) == "@?"
    assert len(picture.chart([1.0] * 500, 0.0, 1.0)) == 59


def test_watch_of_a_device_that_never_ran_is_one_line(toml: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["watch", str(toml), "--count", "1"]) == 7
    assert "has not run" in capsys.readouterr().err
    assert main(["watch", str(toml), "--interval", "0"]) == 2


def test_ctrl_c_ends_a_live_picture_without_a_word(
    toml: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "watch_device", interrupted)
    assert main(["watch", str(toml)]) == 0
    assert capsys.readouterr().err == ""


def test_who_may_not_look_is_told_how_to(
    toml: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*arguments: object) -> None:
        raise PermissionError(13, "Permission denied", "state")

    monkeypatch.setattr(status, "Slots", refused)
    assert main(["status", str(toml)]) == 7
    assert "run this with sudo" in capsys.readouterr().err
    monkeypatch.setattr(explain, "Slots", refused)
    assert main(["explain", str(toml)]) == 7
    assert "Permission denied; give this user the right to, or use sudo" in capsys.readouterr().err


def test_the_help_takes_no_longer_than_its_own_words() -> None:
    from edge_agent.cli import parser

    begin = time.process_time()
    parser().format_help()
    assert time.process_time() - begin < 0.1
    assert findings_text([Finding("disk", State.FAILED, "full", "free some")]).count("\n") == 1
