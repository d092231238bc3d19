"""``edge-agent``: run the service, look at its state, or replay a recorded stream."""

from __future__ import annotations

import os

# one thread for the tiny matrices of a head: more only steal time from the sensor, and change the last bits
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import headway
from edge_agent.installation import add_installation_commands
from edge_agent.looking import add_looking_commands
from headway.errors import INTERRUPTED, ConfigError, HeadwayError
from headway.fields import readable_json
from headway.garbage import seldom_look_for_garbage
from headway.logs import log_to_stderr, print_error, print_unexpected
from headway.ports import SystemClock
from headway.printable import printable_lines
from headway.stopping import StopRequest


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the command; returns the exit code (see headway.errors for the families)."""
    options = parser().parse_args(arguments)
    log_to_stderr(options.log_level, "%(levelname)s %(message)s", structured=options.log_format == "json")
    if options.run is not _run:  # the service looks after its garbage itself, see edge_agent/startup/given_back.py
        seldom_look_for_garbage()
    try:
        code: int = options.run(options)
        return code
    except HeadwayError as error:
        print_error(str(error))
        return error.exit_code
    except BrokenPipeError:
        # whoever read our output has closed it; keep the interpreter from complaining at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print_error("interrupted")
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 (the last resort)
        return print_unexpected(error, "--log-level debug")


# what a command needs is imported by it: no other waits for the learner and its runtime


def _run(options: argparse.Namespace) -> int:
    # before anything that takes time, and for every bundle that follows
    stop = StopRequest.on_signals()
    from edge_agent.reloading import ReloadRequest

    reload = ReloadRequest.on_signal(options.config)
    from edge_agent.daemon import run_once
    from edge_agent.remote import RemoteConfiguration

    remote, clock = RemoteConfiguration(options.config), SystemClock()
    while run_once(remote, clock, stop, once=options.once, reload=reload):
        logging.getLogger("edge-agent").info("starting again")
    return 0


def _status(options: argparse.Namespace) -> int:
    from edge_agent.commands import read_status, status_text
    from edge_agent.config import read_config

    status = read_status(read_config(options.config))
    print(readable_json(status) if options.json else printable_lines(status_text(status)))
    return 0


def _classes(options: argparse.Namespace) -> int:
    from edge_agent.commands import order
    from edge_agent.config import read_config
    from headway.class_changes import ClassChanges

    renames = tuple((old, new) for old, new in options.rename)
    changes = ClassChanges(renames, tuple(options.add), tuple(options.remove))
    if changes == ClassChanges():
        raise ConfigError("nothing to change; give --add, --remove or --rename")
    name = order(changes, read_config(options.config).sensor)
    print(f"{name} waits in the spool; edge-agent status shows the classes, rejected/ what could not be done")
    return 0


def _label(options: argparse.Namespace) -> int:
    from edge_agent.commands import give_label, give_span_label
    from edge_agent.config import read_config

    config, clock, said = read_config(options.config), SystemClock(), (options.values, options.undo)
    if options.begin or options.end:
        if options.label:
            raise ConfigError(f"give an id or a span of time, not both: {options.id!r} {options.label!r}")
        name = give_span_label((options.begin, options.end), options.id, *said, config=config, clock=clock)
    elif options.id:
        name = give_label(options.id, options.label, *said, settings=config.sensor, clock=clock)
    else:
        raise ConfigError("say which windows: give the id of one, or --from and --to")
    print(f"{name} waits in the spool; edge-agent status counts it once it is learned")
    return 0


def _explain(options: argparse.Namespace) -> int:
    from edge_agent.commands import decisions_text, read_decisions
    from edge_agent.config import read_config

    records = read_decisions(read_config(options.config))
    print(readable_json(records) if options.json else printable_lines(decisions_text(records)))
    return 0


def _replay(options: argparse.Namespace) -> int:
    from edge_agent.commands import Extras, replay_recording
    from edge_agent.config import read_learner_settings
    from edge_agent.learner_settings import LearnerSettings
    from headway.tables import Columns

    settings = read_learner_settings(options.config) if options.config else LearnerSettings()
    if options.out is None and options.report is None:
        raise ConfigError("replay writes answers to --out, a page to --report, or both; give one")
    named = (options.label, options.columns, options.without)
    label, columns, without = (tuple(filter(None, given.split(","))) for given in named)
    if options.stride < 0:
        raise ConfigError(f"--stride is {options.stride}; give rows, 1 or more")
    table = Columns(label, columns, options.text, without=without, stride=options.stride)
    extras = Extras(options.labels, table, options.report, options.peer, lambda step: print(step, file=sys.stderr))
    result = replay_recording(options.bundle, options.stream, options.out, settings, options.phases, extras)
    print(readable_json(result))
    return 0


def _completion(options: argparse.Namespace) -> int:
    from edge_agent.completion import completion_script

    print(completion_script(options.shell, _commands(parser())))
    return 0


def _commands(program: argparse.ArgumentParser) -> dict[str, list[str]]:
    """The options of each command."""
    groups = [action.choices for action in program._actions if isinstance(action.choices, dict)]
    return {name: sorted(command._option_string_actions) for name, command in groups[0].items()}


def _join(options: argparse.Namespace) -> int:
    from edge_agent.enrolment import join_fleet

    code = sys.stdin.readline() if options.code == "-" else options.code
    print(printable_lines(join_fleet(options.url, code, options.name, options.config)))
    return 0


def _renew(options: argparse.Namespace) -> int:
    from edge_agent.enrolment import renew_certificate

    print(printable_lines(renew_certificate(options.config, SystemClock(), url=options.url, at_once=options.at_once)))
    return 0


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    program = argparse.ArgumentParser(
        prog="edge-agent", description="Keeps a neural network's head learning on a device."
    )
    program.add_argument("--version", action="version", version=f"edge-agent {headway.__version__}")
    levels = ("debug", "info", "warning", "error")
    program.add_argument("--log-level", default="info", choices=levels, help="what to write to stderr (default info)")
    formats = ("text", "json")
    program.add_argument("--log-format", default="text", choices=formats, help="json: an object a line (default text)")
    commands = program.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="run the service until it is told to stop")
    run.add_argument("config", type=Path, help="agent.toml")
    run.add_argument("--once", action="store_true", help="take in what the spool holds, sync, and leave")
    run.set_defaults(run=_run)

    status = commands.add_parser("status", help="show what the device has learned and sent")
    status.add_argument("config", type=Path, help="agent.toml")
    status.add_argument("--json", action="store_true", help="print JSON")
    status.set_defaults(run=_status)

    explain = commands.add_parser("explain", help="show the latest decisions, drift alarms and their evidence")
    explain.add_argument("config", type=Path, help="agent.toml")
    explain.add_argument("--json", action="store_true", help="print JSON")
    explain.set_defaults(run=_explain)

    classes = commands.add_parser("classes", help="add, remove or rename classes, by name, without losing a label")
    classes.add_argument("config", type=Path, help="agent.toml")
    classes.add_argument("--add", action="append", default=[], metavar="NAME", help="a class that comes, or comes back")
    classes.add_argument("--remove", action="append", default=[], metavar="NAME", help="never predict it again")
    names = ("OLD", "NEW")
    classes.add_argument("--rename", action="append", nargs=2, default=[], metavar=names, help="call it so from now on")
    classes.set_defaults(run=_classes)

    label = commands.add_parser("label", help="say what a window was, or take that back; also while no agent runs")
    label.add_argument("id", nargs="?", default="", help="the window's id, as in its answer; none with --from and --to")
    label.add_argument("label", nargs="?", default="", metavar="CLASS", help="what it was")
    moment = "2026-11-29T10:03, or 10:03 for the last time it was so late"
    label.add_argument("--from", dest="begin", default="", metavar="TIME", help=f"all windows ended since: {moment}")
    label.add_argument("--to", dest="end", default="", metavar="TIME", help="... and before this")
    label.add_argument("--undo", action="store_true", help="take back what was said, to the bit")
    label.add_argument("--values", default="", metavar="N,N", help="of a model with several labels or values")
    toml = Path("/etc/headway/agent.toml")
    label.add_argument("--config", type=Path, default=toml, help=f"agent.toml ({toml})")
    label.set_defaults(run=_label)

    join = commands.add_parser("join", help="join a fleet with a code: key, certificate and agent.toml")
    join.add_argument("url", metavar="URL", help="where devices join, https://HOST:8884")
    join.add_argument("--code", required=True, help="what edge-fleet enroll printed; - reads it from stdin")
    join.add_argument("--name", default="", help="name of this device, where the code is for several")
    join.add_argument("--config", type=Path, default=toml, help=f"where to write it, certificates beside it ({toml})")
    join.set_defaults(run=_join)

    renew = commands.add_parser("renew", help="renew the certificate, if it ends soon")
    renew.add_argument("config", type=Path, help="agent.toml")
    renew.add_argument("--url", default="", help="where devices join, if no longer where this one did")
    renew.add_argument("--at-once", action="store_true", help="also before the last third of its time")
    renew.set_defaults(run=_renew)

    add_looking_commands(commands)
    add_installation_commands(commands)

    completion = commands.add_parser("completion", help="print what makes a shell complete this program's words")
    completion.add_argument("shell", choices=("bash", "zsh", "fish"), help='eval "$(edge-agent completion bash)"')
    completion.set_defaults(run=_completion)

    again = commands.add_parser("replay", help="drive the same loop over a recorded stream, with no network")
    again.add_argument("bundle", type=Path, help="the on-device variant, .hwb")
    again.add_argument(
        "stream", type=Path, help=".npz with x and y (-1: none), rows in time order; x as .npy; or a .csv"
    )
    again.add_argument("--labels", type=Path, metavar="FILE", help="y of the same rows, where the stream is an .npy")
    again.add_argument("--label", default="", metavar="COLUMN", help="of a .csv: the columns of y, as for edge-convert")
    again.add_argument("--columns", default="", metavar="A,B", help="of a .csv: the columns of x (all others)")
    again.add_argument("--without", default="", metavar="A,B", help="of a .csv: columns that are neither")
    again.add_argument("--text", default="", metavar="COLUMN", help="of a .csv: the column of texts that were hashed")
    again.add_argument("--stride", type=int, default=0, metavar="N",
                       help="of a .csv: rows from window to window (as the bundle's own were cut)")  # fmt: skip
    again.add_argument("--out", type=Path, help="where prediction, probability, source go (.npz)")
    again.add_argument("--report", type=Path, metavar="FILE", help="where a page with curves and tables goes (.html)")
    again.add_argument("--peer", type=Path, metavar="FILE", help=".npz with another program's prediction, shown beside")
    again.add_argument("--config", type=Path, help="agent.toml; its [learner] table is used")
    again.add_argument("--phases", type=int, default=0, metavar="N", help="also what is forgotten from phase to phase")
    again.set_defaults(run=_replay)
    return program


if __name__ == "__main__":
    sys.exit(main())
