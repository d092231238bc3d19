"""The commands check, doctor, diag, watch and try of edge-agent: their options."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import suppress
from pathlib import Path

from headway.fields import readable_json
from headway.ports import SystemClock
from headway.printable import printable_lines

TOML = Path("/etc/headway/agent.toml")
# lists of `try` that are settings of a source
COLUMNS = ("channels", "paths", "units")


def add_looking_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """What they do is imported when they are called."""

    def add(name: str, words: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=words)
        command.add_argument("config", type=Path, nargs="?", default=TOML, help=f"agent.toml ({TOML})")
        return command

    check = add("check", "say whether an agent could start with this agent.toml, and why not")
    check.set_defaults(run=_check)

    doctor = add("doctor", "look at all that a device needs, with the fix for each failure; exit code by family")
    doctor.add_argument("--json", action="store_true", help="print JSON")
    doctor.set_defaults(run=_doctor)

    diag = add("diag", "write an archive without secrets for whoever helps; also while no agent runs")
    out = Path("headway-diag.zip")
    diag.add_argument("--out", type=Path, default=out, help=f"where to write it ({out})")
    diag.set_defaults(run=_diag)

    watch = add("watch", "show the device live, with charts; one picture where the output is no terminal")
    watch.add_argument("--interval", type=float, default=2.0, metavar="S", help="seconds between two looks (2)")
    watch.add_argument("--count", type=int, default=0, metavar="N", help="end after N looks (0: with Ctrl-C)")
    watch.set_defaults(run=_watch)

    try_out = commands.add_parser("try", help="show a bundle's answers on live windows, before anything is installed")
    try_out.add_argument("model", type=Path, help="a bundle (.hwb), or a model that edge-convert takes, with --data")
    data = "training data of a model, which is converted first where edge-convert is installed"
    try_out.add_argument("--data", type=Path, metavar="FILE", help=data)
    sensor = "command that prints rows, - for stdin, or a file of windows (.npz)"
    try_out.add_argument("--sensor", required=True, metavar="COMMAND", help=sensor)
    formats = ("csv", "json", "int16", "float32", "uint8")
    try_out.add_argument("--format", default="csv", choices=formats, help="how rows are written (csv)")
    try_out.add_argument("--rate", type=float, default=0.0, metavar="HZ", help="rows per second (as they come)")
    try_out.add_argument("--channels", default="", metavar="A,B", help="as they come; none: as the bundle has them")
    paths = "of json: where each channel stands, with dots into objects (accel.x); none: its name says so"
    try_out.add_argument("--paths", default="", metavar="A,B", help=paths)
    try_out.add_argument("--units", default="", metavar="A,B", help="of the channels as they come; none: the bundle's")
    try_out.add_argument("--time", default="", metavar="NAME", help="the channel that holds the time in seconds")
    try_out.add_argument("--count", type=int, default=10, metavar="N", help="end after N windows (10)")
    try_out.set_defaults(run=_try)


def _check(options: argparse.Namespace) -> int:
    from edge_agent.commands import check_configuration

    print(printable_lines(check_configuration(options.config)))
    return 0


def _doctor(options: argparse.Namespace) -> int:
    from edge_agent.commands import examine, exit_code, findings_text

    findings = examine(options.config, SystemClock())
    print(readable_json([each.to_json() for each in findings]) if options.json else printable_lines(
        findings_text(findings)
    ))  # fmt: skip
    return exit_code(findings)


def _diag(options: argparse.Namespace) -> int:
    from edge_agent.commands import write_archive

    names = write_archive(options.config, options.out, SystemClock())
    print(printable_lines(f"{options.out} holds {', '.join(names)}; look into it before you pass it on"))
    return 0


def _watch(options: argparse.Namespace) -> int:
    from edge_agent.commands import watch_device
    from edge_agent.config import read_config
    from headway.errors import ConfigError

    if not 0.2 <= options.interval <= 3600:
        raise ConfigError(f"--interval is {options.interval:g}; give 0.2 to 3600 seconds")
    coloured = sys.stdout.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("NO_COLOR")
    live = sys.stdout.isatty()
    count = options.count if options.count or live else 1
    config = read_config(options.config)
    with suppress(KeyboardInterrupt):  # which is how a live picture ends
        watch_device(config, SystemClock(), sys.stdout, options.interval, count, live=live, colour=coloured)
    return 0


def _try(options: argparse.Namespace) -> int:
    from edge_agent.commands import settings_of, trial_lines
    from headway.errors import ConfigError

    columns = {name: tuple(getattr(options, name).split(",")) for name in COLUMNS if getattr(options, name)}
    if not 0 <= options.rate <= 1e6:
        raise ConfigError(f"--rate is {options.rate:g}; give rows per second, 0 for as they come")
    how = {"format": options.format, **columns, "time": options.time, "rate_hz": options.rate}
    settings = settings_of(options.sensor, **how)
    count, data = max(1, options.count), options.data
    for line in trial_lines(options.model, options.sensor, settings, SystemClock(), count, data):
        print(printable_lines(line), flush=True)
    return 0
