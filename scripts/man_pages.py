"""Writes docs/man/edge-agent.1, the manual page, as the program itself knows its commands; --check only compares.

make configuration
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from edge_agent.cli import parser

PAGE = Path(__file__).resolve().parent.parent / "docs" / "man" / "edge-agent.1"
HEAD = '.\\" Written by make configuration.\n.TH EDGE\\-AGENT 1 "" Headway "User Commands"\n'
EXIT_CODES = (
    (0, "it is done"),
    (1, "a failure of no other family"),
    (2, "a setting or an argument is wrong"),
    (3, "samples or labels cannot be used"),
    (5, "the bundle is damaged, unsafe or for another version"),
    (6, "no inference runtime here can run the backbone"),
    (7, "the disk or the database refused"),
    (8, "a peer sent what does not follow the protocol"),
    (9, "the broker or the server cannot be reached, or refused"),
    (10, "what is saved was written by a later version; upgrade"),
    (70, "a fault of the program; please report it"),
    (130, "interrupted"),
)


def man_page(program: argparse.ArgumentParser) -> str:
    """The page in the macros of man(7)."""
    lines = [".SH NAME", f"{_escaped(program.prog)} \\- {_escaped((program.description or '').rstrip('.'))}"]
    lines += [".SH SYNOPSIS", f".B {_escaped(program.prog)}", "[OPTIONS] COMMAND ..."]
    lines += [".SH OPTIONS", *_options(program), ".SH COMMANDS"]
    for action in program._actions:
        if isinstance(action, argparse._SubParsersAction):
            for told in action._get_subactions():
                command = action.choices[told.dest]
                places = [
                    str(each.metavar or each.dest.upper()) for each in command._actions if not each.option_strings
                ]
                lines += [f".SS {_escaped(' '.join([told.dest, *places]))}", _escaped(told.help or "")]
                lines += _options(command)
    lines.append(".SH EXIT STATUS")
    for code, words in EXIT_CODES:
        lines += [".TP", f".B {code}", _escaped(words)]
    lines += [".SH FILES", ".TP", ".I /etc/headway/agent.toml", "The device's settings."]
    lines += [".SH SEE ALSO", ".BR journalctl (1),", ".BR systemctl (1)"]
    return HEAD + "\n".join(lines) + "\n"


def _options(command: argparse.ArgumentParser) -> list[str]:
    lines = []
    for each in command._actions:
        if isinstance(each, argparse._SubParsersAction):
            continue
        value = "" if each.nargs == 0 else f" {_value(each)}"
        name = ", ".join(each.option_strings) + value if each.option_strings else str(each.metavar or each.dest.upper())
        lines += [".TP", f".B {_escaped(name)}", _escaped((each.help or "").replace("%%", "%"))]
    return lines


def _value(option: argparse.Action) -> str:
    if option.choices is not None:
        return "{" + ",".join(map(str, option.choices)) + "}"
    shown = option.metavar or option.dest.upper()
    return " ".join(shown) if isinstance(shown, tuple) else shown


def _escaped(text: str) -> str:
    """What roff would read as its own: backslashes, hyphens, and a dot or quote that begins a line."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{escaped}" if escaped[:1] in (".", "'") else escaped


def main() -> int:
    page = man_page(parser())
    if "--check" in sys.argv[1:]:
        if not PAGE.exists() or PAGE.read_text() != page:
            print(f"{PAGE.name} is not what the program says; run: make configuration", file=sys.stderr)
            return 1
        return 0
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page)
    print(PAGE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
