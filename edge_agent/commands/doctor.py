"""``edge-agent doctor``: looks at everything that a device needs, and tells the fix for each failure in one line.

It only reads, and asks the broker for no more than a handshake, so that it may run beside the agent.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from edge_agent.commands.reaching import broker_answers
from edge_agent.commands.source_checks import look_at_sources
from edge_agent.commands.status import read_status
from edge_agent.condition import CLOCK_SET_S, moment
from edge_agent.config import AgentConfig, read_config
from edge_agent.enrolment import dates_of
from edge_agent.health import LinuxMachineHealth, MachineHealth
from edge_agent.runtime import open_runtime
from headway.bundle import read_public_key, read_public_keys, read_variant, signed_by
from headway.errors import BundleError, ConfigError, HeadwayError, StoreError, TransportError
from headway.fields import JsonValue
from headway.mqtt import MqttSettings
from headway.ports import Clock

DAY_S = 86_400
DISK_FREE_BYTES_MIN = 64 << 20
DISK_FILES_MIN = 200
MEMORY_FREE_BYTES_MIN = 48 << 20
# of a Raspberry Pi: from here on its firmware slows the processor down
TEMPERATURE_C_MAX = 80.0
CERTIFICATE_S_MIN = 14 * DAY_S
REASON_CHARACTERS_MAX = 200
# by check, where the error itself names none
FIXES = {
    "configuration": "edge-agent check tells when it is good",
    "bundle": "copy the bundle here once more (sha256sum tells whether it is whole), or correct path and public_key in "
    "[bundle]",
    "runtime": "pip install 'headway[litert]', or convert the model for the runtime that is installed here",
    "certificate": "correct cert_file in [mqtt]; edge-agent join brings a certificate with a code of edge-fleet enroll",
    "head keys": "copy the keys from the server once more, or correct head_keys in [sync]",
    "broker": "correct host, port and files in [mqtt]",
    "disk": "check that the disk is mounted and not full (df, dmesg)",
    "permissions": "sudo usermod -aG headway $USER, and log in again",
    "sensors": "correct spool_dir in [sensor]",
    "agent": "journalctl -u edge-agent tells more",
}
SOURCE_FIX = "correct its table [source]; edge-agent try shows what it gives"


class State(StrEnum):
    """How one thing is. SKIPPED: this device does not have it, or something before it failed."""

    GOOD = "good"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a look at one thing found. fix: what to do, where it is not good; exit_code: of its family of errors."""

    check: str
    state: State
    text: str
    fix: str = ""
    exit_code: int = 0

    def to_json(self) -> dict[str, JsonValue]:
        return {"check": self.check, "state": str(self.state), "text": self.text, "fix": self.fix}


def examine(file: Path, clock: Clock, machine: MachineHealth | None = None) -> list[Finding]:
    """Look at everything. machine: this one by default."""
    try:
        config = read_config(file)
    except HeadwayError as error:
        mend = f"mend {file}" if file.exists() else f"sudo edge-agent init --config {file} writes it"
        return [_failed("configuration", error, f"{mend}; {FIXES['configuration']}")]
    machine = machine or LinuxMachineHealth(_nearest(config.state_dir))
    found = [Finding("configuration", State.GOOD, f"{file}: device {config.device}, fleet {config.fleet}")]
    looks: tuple[tuple[str, Callable[[], Iterator[Finding]]], ...] = (
        ("bundle", lambda: _bundle(config)),
        ("clock", lambda: _clock(clock)),
        ("certificate", lambda: _certificate(config.mqtt, file, clock)),
        ("head keys", lambda: _head_keys(config)),
        ("broker", lambda: _broker(config.mqtt, clock)),
        ("disk", lambda: _disk(config.state_dir, machine)),
        ("memory", lambda: _memory(machine)),
        ("temperature", lambda: _temperature(machine)),
        ("permissions", lambda: _permissions(config)),
        ("sensors", lambda: _sensors(config)),
        ("sources", lambda: _sources(config, clock)),
        ("agent", lambda: _agent(config, clock)),
    )
    for name, look in looks:
        try:
            found += look()
        except HeadwayError as error:
            found.append(_failed(name, error))
        except OSError as error:
            problem = StoreError(f"{error.filename}: {error.strerror}; {_who_may()}")
            found.append(_failed(name, problem))
    return found


def exit_code(findings: list[Finding]) -> int:
    """Of the first failure; 0 where nothing failed: a warning is none."""
    return next((each.exit_code for each in findings if each.state is State.FAILED), 0)


def findings_text(findings: list[Finding]) -> str:
    """A line each, and below what is not good a line with the fix."""
    lines = []
    for each in findings:
        lines.append(f"{each.state:<8} {each.check:<14} {each.text}")
        if each.fix:
            lines.append(f"{'':<8} {'':<14} fix: {each.fix}")
    return "\n".join(lines)


def _failed(check: str, error: HeadwayError, fix: str = "") -> Finding:
    """Errors name the fix behind their last semicolon, or it is that of the check. fix: what is to be done besides."""
    text, _, advice = str(error).rpartition("; ")
    if not text:
        text, advice = advice, "" if fix else FIXES.get(check, SOURCE_FIX)
    return Finding(check, State.FAILED, text, "; ".join(each for each in (advice, fix) if each), error.exit_code)


def _bundle(config: AgentConfig) -> Iterator[Finding]:
    key = None if config.public_key is None else read_public_key(config.public_key)
    variant = read_variant(config.bundle, public_key=key)
    signed = "" if config.public_key is None else ", signature checked"
    yield Finding("bundle", State.GOOD, f"{variant.name} {variant.version}, {len(variant.classes)} classes{signed}")
    try:
        yield Finding("runtime", State.GOOD, f"{open_runtime(variant).name}, proven on the bundle's probe windows")
    except HeadwayError as error:
        yield _failed("runtime", error)


def _clock(clock: Clock) -> Iterator[Finding]:
    now = moment(0.0, 0.0, clock.wall_s())
    if clock.wall_s() < CLOCK_SET_S:
        fix = "sudo timedatectl set-ntp true, or wait for the network; certificates are not valid before"
        yield Finding("clock", State.FAILED, "this machine's clock is not set", fix, ConfigError.exit_code)
    else:
        yield Finding("clock", State.GOOD, now)


def _certificate(mqtt: MqttSettings | None, file: Path, clock: Clock) -> Iterator[Finding]:
    if mqtt is None or mqtt.cert_file is None:
        yield Finding("certificate", State.SKIPPED, "this device has none")
        return
    begin_s, end_s = dates_of(mqtt.cert_file.absolute())
    left_s, until = end_s - clock.wall_s(), moment(0.0, 0.0, end_s)
    renew = f"sudo edge-agent renew {file}, or take the new one from whoever made it"
    code = TransportError.exit_code
    if left_s <= 0:
        yield Finding("certificate", State.FAILED, f"{mqtt.cert_file} ended at {until}", renew, code)
    elif clock.wall_s() < begin_s:
        text = f"{mqtt.cert_file} begins at {moment(0.0, 0.0, begin_s)}"
        yield Finding("certificate", State.FAILED, text, "set this machine's clock: timedatectl set-ntp true", code)
    else:
        state = State.WARNING if left_s < min(CERTIFICATE_S_MIN, (end_s - begin_s) / 4) else State.GOOD
        text = f"{mqtt.cert_file} is good for {left_s / DAY_S:.0f} more days, until {until}"
        yield Finding("certificate", state, text, renew if state is State.WARNING else "")


def _head_keys(config: AgentConfig) -> Iterator[Finding]:
    file = config.sync.head_keys
    if file is None:
        text = "none: whoever may publish in the server's name on the broker is believed" if config.mqtt else "none"
        yield Finding("head keys", State.SKIPPED, text)
        return
    keys = read_public_keys(file)
    signed_by(keys[0], b"", bytes(64))  # nobody's; it raises where nothing here can check one
    named = ", ".join(key[:8].hex() for key in keys)
    yield Finding("head keys", State.GOOD, f"heads, priors and orders need the seal of {named}")


def _broker(mqtt: MqttSettings | None, clock: Clock) -> Iterator[Finding]:
    if mqtt is None:
        yield Finding("broker", State.SKIPPED, "no [mqtt] table: it works offline")
        return
    yield Finding("broker", State.GOOD, broker_answers(mqtt, clock))


def _disk(state_dir: Path, machine: MachineHealth) -> Iterator[Finding]:
    free_bytes = machine.disk_free_bytes()
    if free_bytes is None:
        raise StoreError(f"the disk of {state_dir} cannot be read; check that it is mounted")
    text = f"{free_bytes >> 20} MiB free for {state_dir}"
    if free_bytes < DISK_FREE_BYTES_MIN:
        fix = f"free some: at least {DISK_FREE_BYTES_MIN >> 20} MiB; look into rejected/ and predictions_dir first"
        yield Finding("disk", State.FAILED, text, fix, StoreError.exit_code)
    elif _files_left(state_dir) < DISK_FILES_MIN:
        text = f"{text}, but for {_files_left(state_dir)} more files (inodes)"
        yield Finding("disk", State.FAILED, text, "delete files on this disk, df -i counts them", StoreError.exit_code)
    else:
        yield Finding("disk", State.GOOD, text)


def _files_left(state_dir: Path) -> int:
    """How many files more its disk takes; sys.maxsize for a file system that has no fixed number of them."""
    found = os.statvfs(_nearest(state_dir))
    return found.f_favail if found.f_files else sys.maxsize


def _memory(machine: MachineHealth) -> Iterator[Finding]:
    free_bytes = machine.memory_free_bytes()
    if free_bytes is None:
        yield Finding("memory", State.SKIPPED, "this machine does not tell")
        return
    text = f"{free_bytes >> 20} MiB available"
    if free_bytes < MEMORY_FREE_BYTES_MIN:
        yield Finding("memory", State.WARNING, text, "stop another program, or give the machine swap (zram)")
    else:
        yield Finding("memory", State.GOOD, text)


def _temperature(machine: MachineHealth) -> Iterator[Finding]:
    found_c = machine.temperature_c()
    if found_c is None:
        yield Finding("temperature", State.SKIPPED, "this machine has no thermal zone")
    elif found_c >= TEMPERATURE_C_MAX:
        fix = "cool it; temperature_c_max in [policy] lets labels wait while it is hot"
        yield Finding("temperature", State.WARNING, f"{found_c:.0f} degrees Celsius, and it slows down", fix)
    else:
        yield Finding("temperature", State.GOOD, f"{found_c:.0f} degrees Celsius")


def _permissions(config: AgentConfig) -> Iterator[Finding]:
    folders = (config.state_dir, config.sensor.spool_dir, config.sensor.predictions_dir)
    for folder in folders:
        if not _nearest(folder).is_dir():
            raise ConfigError(
                f"{_nearest(folder)} is a file where a folder is needed; move it away, or correct the path"
            )
    lacks = [folder for folder in folders if not os.access(_nearest(folder), os.R_OK | os.W_OK | os.X_OK)]
    if lacks:
        yield Finding("permissions", State.WARNING, f"you may not write to {lacks[0]}", _who_may())
    for secret in config.mqtt.readable_by_everybody() if config.mqtt is not None else ():
        code = ConfigError.exit_code
        yield Finding("permissions", State.FAILED, f"everybody may read {secret}", f"sudo chmod o= {secret}", code)
        return
    if not lacks:
        yield Finding("permissions", State.GOOD, "folders can be written, secrets are not open to everybody")


def _sensors(config: AgentConfig) -> Iterator[Finding]:
    folder = config.sensor.spool_dir
    if not folder.is_dir():
        fix = "start the agent, which makes it, or correct spool_dir in [sensor]"
        yield Finding("sensors", State.WARNING, f"spool folder {folder} does not exist", fix)
        return
    waiting = sum(path.is_file() for path in folder.iterdir() if not path.name.startswith("."))
    reasons = sorted((folder / "rejected").glob("*.reason"), key=lambda path: path.stat().st_mtime)
    text = f"{folder}: {waiting} files wait, {len(reasons)} in rejected/"
    if reasons:
        newest = reasons[-1].read_text(errors="replace").strip()[:REASON_CHARACTERS_MAX]
        fix = f"mend what writes them, then empty {folder / 'rejected'}"
        yield Finding("sensors", State.WARNING, f"{text}, the newest: {newest}", fix)
    else:
        yield Finding("sensors", State.GOOD, text)


def _sources(config: AgentConfig, clock: Clock) -> Iterator[Finding]:
    for name, seen in look_at_sources(config, clock):
        check = f"source {name}"
        yield Finding(check, State.GOOD, seen) if isinstance(seen, str) else _failed(check, seen)


def _agent(config: AgentConfig, clock: Clock) -> Iterator[Finding]:
    try:
        status = read_status(config, clock)
    except StoreError as error:
        if "does not exist" in str(error) and "has not run" in str(error):
            fix = "sudo systemctl enable --now edge-agent"
            yield Finding("agent", State.WARNING, "it has not run with this configuration yet", fix)
            return
        raise
    except BundleError as error:  # of a delivered one, that of the file has a check of its own
        yield _failed("agent", error, "sudo systemctl restart edge-agent, which goes back to the bundle before")
        return
    if not status["running"]:
        fix = "sudo systemctl start edge-agent; journalctl -u edge-agent tells why it stopped"
        yield Finding("agent", State.WARNING, "it does not run", fix)
        return
    yield Finding("agent", State.GOOD, str(status["condition"]))
    problems = status["problems"]
    for problem in problems if isinstance(problems, list) else ():
        text = f"{problem['kind']} since {problem['since']}: {problem['text']}"
        yield Finding("agent", State.WARNING, text, "edge-agent status shows more, journalctl -u edge-agent all of it")


def _nearest(folder: Path) -> Path:
    """The folder itself, or the one in which it would be made."""
    return next((each for each in (folder, *folder.absolute().parents) if each.exists()), Path("/"))


def _who_may() -> str:
    return "run this with sudo, or join the group: sudo usermod -aG headway $USER, and log in again"
