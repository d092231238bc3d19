"""Writes docs/reference/commands.md: every command of the three programs, as the programs themselves know them.

make configuration
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import click

from aggregator.commands import edge_fleet
from converter.commands import edge_convert
from edge_agent.cli import parser

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "commands.md"
HEAD = """\
# Commands

Every command of the three programs, in a line each; `--help` behind one tells of its options. Written by
`make configuration`.

Words are completed in bash after `eval "$(edge-fleet completion bash)"` and `eval "$(edge-agent completion bash)"`;
both know zsh and fish, too.
"""


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    programs: dict[str, Iterator[tuple[str, str]]] = {
        # its first word is a model, where it is not one of the others
        "edge-convert": chain(
            [("edge-convert MODEL", _sentence(edge_convert.help or ""))], _of_click(edge_convert, "edge-convert")
        ),
        "edge-agent": _of_argparse(parser()),
        "edge-fleet": _of_click(edge_fleet, "edge-fleet"),
    }
    for program, commands in programs.items():
        rows = "\n".join(f"| `{command}` | {what} |" for command, what in commands)
        parts.append(f"## {program}\n\n| command | what it does |\n|---|---|\n{rows}\n")
    return "\n".join(parts)


def _of_click(command: click.Command, path: str) -> Iterator[tuple[str, str]]:
    """Every command that does something, with its arguments and the first sentence of its help."""
    context = click.Context(command, info_name=path)
    if not isinstance(command, click.Group) or command.invoke_without_command:
        arguments = [p.make_metavar(context) for p in command.params if isinstance(p, click.Argument)]
        yield " ".join([path, *arguments]), _sentence(command.help or "")
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            if found is not None:
                yield from _of_click(found, f"{path} {name}")


def _of_argparse(program: argparse.ArgumentParser) -> Iterator[tuple[str, str]]:
    for action in program._actions:
        if isinstance(action, argparse._SubParsersAction):
            for told in action._get_subactions():
                command = action.choices[told.dest]
                names = [each.metavar or each.dest.upper() for each in command._actions if not each.option_strings]
                yield " ".join([program.prog, told.dest, *map(str, names)]), _sentence(told.help or "")


def _sentence(text: str) -> str:
    first = " ".join(text.split("\n\n")[0].split()).rstrip(".").replace("|", "\\|")
    return first[:1].lower() + first[1:]


def main() -> None:
    PAGE.write_text(page())
    print(PAGE)


if __name__ == "__main__":
    main()
