"""Implements `edge-agent install` and `uninstall`: what the Debian package does, from an environment that pip filled.

Each may be called again at any time, also after a kill: it does what is missing.
"""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.resources import files
from pathlib import Path

import edge_agent
from edge_agent.combinations import fitting_runtime, installed_runtimes
from edge_agent.completion import LOADED_BY_BASH
from edge_agent.installing.compiling import compile_environment
from edge_agent.installing.environment import (
    LIBRARIES,
    OPTIONAL_LIBRARIES,
    Layout,
    write_environment,
    write_own_metadata,
)
from headway.errors import ConfigError, StoreError

log = logging.getLogger("edge-agent")

PREFIX = Path("/opt/headway")
UNITS = ("edge-agent.service", "edge-agent-renew.service", "edge-agent-renew.timer")
STARTED = ("edge-agent.service", "edge-agent-renew.timer")
# where an administrator's files belong, by their name in edge_agent/systemd; the package's are below /usr/lib
PLACES = {
    **{unit: Path("/etc/systemd/system") / unit for unit in UNITS},
    "headway.sysusers": Path("/etc/sysusers.d/headway-agent.conf"),
    "headway.tmpfiles": Path("/etc/tmpfiles.d/headway-agent.conf"),
}
CONFIG = Path("/etc/headway/agent.toml")
COMMAND, MANUAL = Path("/usr/local/bin/edge-agent"), Path("/usr/local/share/man/man1/edge-agent.1")
COMPLETION = Path("/usr/local/share/bash-completion/completions/edge-agent")
STATE = ("/var/lib/edge-agent", "/var/lib/private/edge-agent", "/var/spool/headway", "/run/headway")
# a server on the same machine keeps its configuration here, and its group
SERVERS_CONFIG = Path("/etc/headway/aggregator.toml")
# in the state folder while this device is announced to Home Assistant (edge_agent/home_assistant/announced.py)
ANNOUNCED = "home-assistant.json"
PACKAGE = Path("/var/lib/dpkg/info/headway-agent.list")
HIDDEN_FROM_SERVICES = ("/home/", "/root/", "/run/user/", "/tmp/")


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do. words: what it is, as people say it."""

    words: str
    do: Callable[[], object]


@dataclass(frozen=True, slots=True)
class Machine:
    """The system to change: / or, for an image that is being made, the folder of its root."""

    root: Path

    def at(self, path: Path | str) -> Path:
        """An absolute path of that system, as a path here."""
        return self.root / str(path).lstrip("/")

    def runs_systemd(self) -> bool:
        """Whether its systemd can be told to do something."""
        return self.root == Path("/") and Path("/run/systemd/system").is_dir()


def install_steps(machine: Machine, further: tuple[str, ...] = ()) -> list[Step]:
    """What `edge-agent install` does. further: distributions besides the agent's own, such as sources of sensors.

    Raises ConfigError, RuntimeUnavailableError before anything is done.
    """
    if machine.at(PACKAGE).exists():
        raise ConfigError("the Debian package headway-agent is installed here; upgrade it with apt")
    runtime = fitting_runtime(installed_runtimes())
    libraries = needed_distributions(runtime, *further)
    steps = []
    if Path(sys.prefix).resolve() == machine.at(PREFIX).resolve():
        steps.append(Step(f"keep {PREFIX}, which runs this command", lambda: None))
    else:
        python = _interpreter()
        steps.append(Step(f"write {PREFIX} with {runtime}", partial(replace_environment, machine, python, libraries)))
    for name, place in PLACES.items():
        steps.append(Step(f"write {place}", partial(_write, machine.at(place), _data(name))))
    if not machine.at(CONFIG).exists():
        steps.append(Step(f"write {CONFIG}", partial(_write, machine.at(CONFIG), _data("agent.toml"))))
    manual = (files("edge_agent") / "man" / MANUAL.name).read_text(encoding="utf-8")
    steps.append(Step(f"write {MANUAL}", partial(_write, machine.at(MANUAL), manual)))
    steps.append(Step(f"write {COMPLETION}", partial(_write, machine.at(COMPLETION), LOADED_BY_BASH)))
    steps.append(Step(f"link {COMMAND}", partial(_link, machine.at(COMMAND), PREFIX / "bin" / "edge-agent")))
    root = f"--root={machine.root}"
    steps.append(_command("systemd-sysusers", root, *_words(machine, "headway.sysusers")))
    steps.append(_command("systemd-tmpfiles", root, "--create", *_words(machine, "headway.tmpfiles")))
    if machine.runs_systemd():
        steps += [_command("systemctl", "daemon-reload"), _command("systemctl", "try-restart", STARTED[0])]
    return steps


def uninstall_steps(machine: Machine, *, purge: bool) -> list[Step]:
    """What `edge-agent uninstall` does; with `purge` nothing is left, state and configuration neither."""
    if machine.at(PACKAGE).exists():
        raise ConfigError("the Debian package headway-agent is installed here; remove it with apt")
    steps = []
    if machine.runs_systemd() and any(machine.at(PLACES[unit]).exists() for unit in STARTED):
        steps.append(_command("systemctl", "disable", "--now", *STARTED))
    if any(machine.at(f"{folder}/{ANNOUNCED}").exists() for folder in STATE) and machine.root == Path("/"):
        steps.append(Step("take this device out of Home Assistant", _leave_home_assistant))
    gone = [*(PLACES[unit] for unit in UNITS), COMMAND, MANUAL, COMPLETION, PREFIX]
    if purge:
        gone += [Path(path) for path in STATE]
        gone += [PLACES["headway.sysusers"], PLACES["headway.tmpfiles"]]
        alone = not machine.at(SERVERS_CONFIG).exists()
        gone += [CONFIG.parent] if alone else [CONFIG]
    for path in gone:
        here = machine.at(path)
        if here.exists() or here.is_symlink():
            steps.append(Step(f"remove {path}", partial(_remove, here)))
    if purge and alone and _has_group(machine):
        words = (
            ("groupdel", "headway") if machine.root == Path("/") else ("groupdel", "-R", str(machine.root), "headway")
        )
        steps.append(_command(*words))
    if machine.runs_systemd():
        steps.append(_command("systemctl", "daemon-reload"))
    return steps


def carry_out(steps: list[Step], *, dry_run: bool) -> Iterator[str]:
    """The steps in words, each done before it is told. Raises StoreError, with what could not be done."""
    for step in steps:
        if not dry_run:
            try:
                step.do()
            except OSError as error:
                raise StoreError(f"cannot {step.words}: {error.strerror or error}; run it with sudo") from error
        yield step.words


def _interpreter() -> Path:
    """The interpreter below this environment, which the service must be able to reach."""
    python = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    if str(python).startswith(HIDDEN_FROM_SERVICES):
        raise ConfigError(f"{python} is hidden from services (ProtectHome); make the environment with /usr/bin/python3")
    return python


def needed_distributions(*further: str) -> list[Distribution]:
    """What a device needs of this environment, besides our own. further: the runtime, sources of sensors. Raises
    ConfigError."""
    wanted, found = (*LIBRARIES, *further), []
    for name in (*wanted, *OPTIONAL_LIBRARIES):
        try:
            found.append(distribution(name))
        except PackageNotFoundError as error:
            if name in wanted:
                raise ConfigError(f"{name} is not installed in {sys.prefix}; pip install {name}") from error
    return found


def replace_environment(machine: Machine, python: Path, libraries: list[Distribution]) -> None:
    """/opt/headway of a machine, written beside the old one, which goes when the new one is whole. Raises StoreError,
    OSError."""
    final = machine.at(PREFIX)
    new, old = final.with_name("headway.new"), final.with_name("headway.old")
    for folder in (new, old):
        if folder.exists():
            shutil.rmtree(folder)
    layout = Layout(PREFIX, python, (sys.version_info.major, sys.version_info.minor))
    write_environment(new, layout, libraries, Path(edge_agent.__file__).parents[1])
    write_own_metadata(layout.site(new), distribution("headway"))
    # without .pyc files each start takes three to five times as long
    if kept := compile_environment(new):
        log.warning("%s", kept)
    if final.exists():
        final.rename(old)
    new.rename(final)
    if old.exists():
        shutil.rmtree(old)


def _data(name: str) -> str:
    return (files("edge_agent") / "systemd" / name).read_text(encoding="utf-8")


def _words(machine: Machine, name: str) -> tuple[str, ...]:
    """One of our files for systemd's tools, which read it inside the root."""
    return (str(PLACES[name]),) if machine.root == Path("/") else (PLACES[name].name,)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _link(path: Path, target: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _leave_home_assistant() -> None:
    """Where that fails the rest goes on: without a broker nothing can be taken back, and the words say what is left."""
    words = [sys.executable, "-m", "edge_agent.cli", "leave-home-assistant", str(CONFIG)]
    done = subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)
    if done.returncode != 0:
        log.warning("%s", (done.stderr or done.stdout).strip())


def _has_group(machine: Machine) -> bool:
    groups = machine.at("/etc/group")
    return groups.exists() and any(line.startswith("headway:") for line in groups.read_text().splitlines())


def _command(*words: str) -> Step:
    def do() -> None:
        done = subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120)
        if done.returncode != 0:
            raise StoreError(f"{' '.join(words)} failed: {(done.stderr or done.stdout).strip()}")

    return Step(f"run {' '.join(words)}", do)
