"""A table on the terminal, with rules and colours; elsewhere the caller's plain lines, which programs may cut up."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from headway.fields import JsonValue, json_line
from headway.printable import printable, printable_lines

# rich takes a second for so many
ROWS_RULED_MAX = 1000
STYLES = {"yes": "green", "no": "dim", "there": "green", "has not reported": "dim", "-": "dim"}


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """Columns two spaces apart, for `print_table`."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
    return "\n".join(line.rstrip() for line in padded)


def print_json_rows(rows: Sequence[JsonValue]) -> None:
    """A JSON list with each row on a line of its own, which programs may cut up."""
    print("[" + ",\n ".join(map(json_line, rows)) + "]")


def print_table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]] | Callable[[], Sequence[Sequence[str]]],
    plain: str,
    right: frozenset[str],
) -> None:
    """Print `rows`, or the `plain` text where the output is not a terminal, or nobody would wait for so many rules.

    rows: may be a function, which is called for a terminal alone. right: columns of numbers.
    """
    if not sys.stdout.isatty() or plain.count("\n") > ROWS_RULED_MAX:
        print(printable_lines(plain))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in header:
        table.add_column(name.lower(), justify="right" if name in right else "left", overflow="fold")
    for row in rows() if callable(rows) else rows:
        # what devices say is text, never markup
        table.add_row(*(Text(printable(cell), style=STYLES.get(cell, "")) for cell in row))
    Console().print(table)
