"""What the commands of the server share on click: options in groups, one line for each mistake, the exit codes.

Programs of a device never import this module: they keep argparse, which costs them nothing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem, get_completion_class

from headway.errors import INTERRUPTED, ConfigError, HeadwayError
from headway.extras import missing_extra
from headway.logs import print_error, print_unexpected

HELP_COLUMNS_MAX = 110


class Option(click.Option):
    """An option that stands in a group of the help, with its default and its limits.

    limits: in words, shown beside the default. known: values to complete, also behind a comma.
    default_elsewhere: shown where the value is not set by the option itself, but by what it overrules. remark: words
    for people, which may be empty; of others that are empty unless they are given, an empty text is refused: a script
    that gives a variable which is not set would else ask for all there is.
    """

    def __init__(
        self,
        *declared: Any,
        group: str = "",
        limits: str = "",
        known: Iterable[str] = (),
        default_elsewhere: str = "",
        remark: bool = False,
        **given: Any,
    ) -> None:
        super().__init__(*declared, **given)
        self._refused_empty = given.get("default") == "" and not remark
        self.group, self.limits, self.known, self.default_elsewhere = group, limits, tuple(known), default_elsewhere

    def handle_parse_result(
        self, ctx: click.Context, opts: Mapping[str, Any], args: list[str]
    ) -> tuple[Any, list[str]]:
        if self._refused_empty and opts.get(self.name or "") == "":
            raise click.BadOptionUsage(self.opts[0], f"{self.opts[0]} is empty; give it a value or leave it out", ctx)
        return super().handle_parse_result(ctx, opts, args)

    def get_help_extra(self, ctx: click.Context) -> Any:
        extra = super().get_help_extra(ctx)
        said = {"default": self.default_elsewhere, "range": self.limits}
        return {**extra, **{name: words for name, words in said.items() if words}}

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        if not self.known:
            return super().shell_complete(ctx, incomplete)
        before, comma, last = incomplete.rpartition(",")
        return [CompletionItem(before + comma + value) for value in self.known if value.startswith(last)]


class _Formatter(click.HelpFormatter):
    """Headings stand out on a terminal; where the help is piped, click leaves the emphasis away."""

    def write_heading(self, heading: str) -> None:
        super().write_heading(click.style(heading, bold=True))


class _Context(click.Context):
    formatter_class = _Formatter


class Command(click.Command):
    """A command whose help shows its options by group, in the order in which they are declared."""

    context_class = _Context

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                groups.setdefault(getattr(parameter, "group", "") or "Options", []).append(record)
        groups["Options"] = groups.pop("Options")  # the help's own option, and what has no group, come last
        for group, records in groups.items():
            with formatter.section(group):
                formatter.write_dl(records)


class Group(click.Group):
    """A program of several commands. Whoever reads its output may stop reading.

    later: modules by the names of the commands that they hold in `COMMANDS`; each is loaded when one of its commands
    is called, so that no command waits for what another one needs.
    """

    context_class = _Context
    command_class = Command

    def __init__(self, *given: Any, later: Mapping[str, Sequence[str]] | None = None, **named: Any) -> None:
        super().__init__(*given, **named)
        self._later = {name: module for module, names in (later or {}).items() for name in names}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *self._later})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in self._later and cmd_name not in self.commands:
            for command in import_module(self._later[cmd_name]).COMMANDS:
                self.add_command(command)
        return super().get_command(ctx, cmd_name)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # whoever read our output has closed it; keep the interpreter from complaining at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0


def option(*declared: str, **given: Any) -> Callable[[Any], Any]:
    """`click.option` with a group, limits and values to complete: see `Option`."""
    return click.option(*declared, cls=Option, **given)


def completion_script(program: click.Command, name: str, shell: str) -> str:
    """What makes `shell` (bash, zsh, fish) complete a program's words. Raises ConfigError for another shell."""
    made = get_completion_class(shell)
    if made is None:
        raise ConfigError(f"no completion for {shell!r}; there is one for bash, zsh and fish")
    variable = f"_{name.upper().replace('-', '_')}_COMPLETE"
    return made(program, {}, name, variable).source()


def file_path() -> click.Path:
    """The type of an option that names a file; whether it can be used is said where it is used."""
    return click.Path(path_type=Path)


def run(
    program: click.Command,
    name: str,
    extra: str,
    arguments: Sequence[str] | None = None,
    *,
    debug_option: str = "",
) -> int:
    """Run a program and return its exit code (see headway.errors for the families); mistakes are one line on stderr.

    extra: of the distribution, named when a package of it is not installed. debug_option: shows a traceback. A command
    returns its exit code or None.
    """
    try:
        code = program.main(
            None if arguments is None else list(arguments),
            prog_name=name,
            standalone_mode=False,
            max_content_width=HELP_COLUMNS_MAX,
        )
    except HeadwayError as error:
        return _refused(str(error), error.exit_code)
    except click.UsageError as error:
        where = name if error.ctx is None else error.ctx.command_path.strip()
        message = " ".join(error.format_message().split()).rstrip(".").replace(". (", " (")
        return _refused(f"{message[:1].lower()}{message[1:]}; see {where} --help", ConfigError.exit_code)
    except ModuleNotFoundError as error:
        return _refused(missing_extra(error, extra), ConfigError.exit_code)
    except (click.Abort, KeyboardInterrupt):
        return _refused("interrupted", INTERRUPTED)
    except Exception as error:  # noqa: BLE001 (the last resort)
        return print_unexpected(error, debug_option)
    return int(code or 0)


def _refused(message: str, exit_code: int) -> int:
    print_error(message)
    return exit_code
