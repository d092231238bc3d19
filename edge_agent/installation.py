"""The commands install, uninstall and init of edge-agent: options and questions."""

from __future__ import annotations

import argparse
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from headway.errors import ConfigError, HeadwayError
from headway.printable import printable_lines


def add_installation_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """What they do is imported when they are called."""
    install = commands.add_parser("install", help="as root: environment in /opt/headway, units, folders, group")
    install.add_argument("--dry-run", action="store_true", help="only say what would be done")
    install.add_argument("--root", type=Path, default=Path("/"), help="root of an image that is being made (/)")
    install.add_argument("--with", action="append", default=[], dest="further", metavar="NAME", help="this package too")
    install.add_argument(
        "--without-runtime", action="store_true", help="only for bundles without a network: NumPy alone"
    )
    install.set_defaults(run=_install)

    uninstall = commands.add_parser("uninstall", help="as root: take away what install made; state and settings stay")
    uninstall.add_argument("--purge", action="store_true", help="state, settings, answers and group too: nothing stays")
    uninstall.add_argument("--dry-run", action="store_true", help="only say what would be done")
    uninstall.add_argument("--root", type=Path, default=Path("/"), help="root of an image that is being made (/)")
    uninstall.set_defaults(run=_uninstall)

    toml = Path("/etc/headway/agent.toml")
    leave = commands.add_parser("leave-home-assistant", help="take this device out of Home Assistant; no agent may run")
    leave.add_argument("config", type=Path, nargs="?", default=toml, help=f"agent.toml ({toml})")
    leave.set_defaults(run=_leave_home_assistant)

    init = commands.add_parser("init", help="write agent.toml from a few answers, and check them")
    init.add_argument("--config", type=Path, default=toml, help=f"the file to write ({toml})")
    init.add_argument("--bundle", type=Path, help="the bundle that edge-convert made; asked for if not given")
    init.add_argument("--device", help="name of this device, unique in its fleet; asked for if not given")
    init.add_argument("--fleet", default="default", help="name of the fleet (default)")
    init.add_argument("--broker", help='HOST or HOST:PORT of the MQTT broker; "" for none; asked for if not given')
    init.add_argument("--join", metavar="URL", help="join a fleet here, with --code, instead of --broker")
    init.add_argument("--code", help="what edge-fleet enroll printed; - reads it from stdin")
    init.add_argument("--replace", action="store_true", help="also where the file was edited before")
    init.set_defaults(run=_init)


def _install(options: argparse.Namespace) -> int:
    from edge_agent.installing import Machine, carry_out, install_steps

    further, with_runtime = tuple(options.further), not options.without_runtime
    steps = install_steps(Machine(options.root), further, with_runtime=with_runtime)
    for words in carry_out(steps, dry_run=options.dry_run):
        print(words)
    print("next: sudo edge-agent init, then sudo systemctl enable --now edge-agent")
    return 0


def _uninstall(options: argparse.Namespace) -> int:
    from edge_agent.installing import Machine, carry_out, uninstall_steps

    steps = uninstall_steps(Machine(options.root), purge=options.purge)
    for words in carry_out(steps, dry_run=options.dry_run):
        print(words)
    if not steps:
        print("nothing is installed")
    return 0


def _leave_home_assistant(options: argparse.Namespace) -> int:
    from edge_agent.commands import leave_home_assistant

    cleared = leave_home_assistant(options.config)
    print(printable_lines("\n".join(f"cleared {topic}" for topic in cleared) or "it is not in Home Assistant"))
    return 0


def _init(options: argparse.Namespace) -> int:
    from edge_agent.installing import FirstValues, belongs_to_system, broker_address, write_first_configuration

    if (options.join is None) != (options.code is None):
        raise ConfigError("--join and --code belong together")
    if options.join is not None and options.broker:
        raise ConfigError("give --broker or --join, not both; who joins is told the broker")
    bundle = options.bundle or Path(answer("--bundle", "bundle (.hwb)", "/etc/headway/model.hwb", _is_bundle))
    device = options.device or answer("--device", "name of this device", socket.gethostname(), _is_name)
    join, broker = None, options.broker
    if options.join is not None:
        join = (options.join, sys.stdin.readline() if options.code == "-" else options.code)
    elif broker is None:
        broker = answer("--broker", "MQTT broker, HOST or HOST:PORT, empty for none", "", broker_address)
    values = FirstValues(bundle, device, options.fleet, broker or "", join)
    for line in write_first_configuration(options.config, values, replace=options.replace):
        print(printable_lines(line))
    service = "sudo systemctl enable --now edge-agent, or " if belongs_to_system(options.config) else ""
    print(printable_lines(f"next: {service}edge-agent run {options.config}"))
    return 0


def answer(
    option: str, question: str, default: str, check: Callable[[str], object], ask: Callable[[str], str] | None = None
) -> str:
    """What a person answers. check: raises HeadwayError for what cannot be; then it is asked again.

    Raises ConfigError where nobody is there.
    """
    while sys.stdin.isatty():
        try:
            said = (ask or input)(f"{question} [{default}]: ").strip() or default
            check(said)
        except EOFError:
            break
        except HeadwayError as error:
            print(printable_lines(str(error)))
        else:
            return said
    raise ConfigError(f"nobody is there to ask; give {option}")


def _is_bundle(path: str) -> None:
    from headway.bundle import read_variant

    read_variant(Path(path))


def _is_name(name: str) -> None:
    from headway.names import checked_name

    checked_name(name, "name")
