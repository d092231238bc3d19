"""Labels of several windows for `edge-fleet label`: from the command line, or from a CSV file."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from headway.errors import ConfigError
from headway.fields import JsonValue, readable_json

if TYPE_CHECKING:
    from aggregator.reach import Fleet

FILE_BYTES_MAX = 1_000_000
COLUMNS = ["window", "class"]


def label_windows(fleet: Fleet, device: str, labels: Sequence[tuple[str, str]], in_json: bool) -> None:
    """``edge-fleet label DEVICE WINDOW=CLASS ...``. Raises ConfigError, and then none is told."""
    rows = fleet.label_many(device, labels)
    if in_json:
        print(readable_json([cast("dict[str, JsonValue]", {**row}) for row in rows]))
        return
    asked = sum(row["state"] == "asked" for row in rows)
    on_its_way = f"; {device} is told when it is there, `edge-fleet commands {device}` shows it" if asked else ""
    print(f"labelled {len(rows)} window{'' if len(rows) == 1 else 's'} of {device}{on_its_way}")


def several(said: Sequence[str], file: Path | None, acts: int) -> list[tuple[str, str]] | None:
    """The labels that were given at once; None where one thing is said of one window. acts: said instead of a class.

    Raises ConfigError.
    """
    if file is not None:
        if said or acts:
            raise ConfigError("--from FILE has every window with its class; leave out what else is said")
        return _read(file)
    pairs = [(window, name) for window, equals, name in (text.rpartition("=") for text in said) if equals]
    if not acts and said and len(pairs) == len(said):
        return pairs
    if len(said) not in (1, 2):
        raise ConfigError(
            "say what a window was: WINDOW CLASS; of several: WINDOW=CLASS WINDOW=CLASS ..., or --from FILE"
        )
    return None


def _read(file: Path) -> list[tuple[str, str]]:
    try:
        with file.open("rb") as opened:
            content = opened.read(FILE_BYTES_MAX + 1)
        text = content.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--from {file}: {getattr(error, 'strerror', None) or 'it is no text in UTF-8'}") from error
    if len(content) > FILE_BYTES_MAX:
        raise ConfigError(f"--from {file} has more than {FILE_BYTES_MAX:,} bytes; give labels in several files")
    reader = csv.reader(text.splitlines(), strict=True)
    labels = []
    try:
        header = next(reader, [])
        if [name.strip() for name in header] != COLUMNS:
            raise ConfigError(
                f"--from {file} must begin with the line window,class; it begins with {','.join(header)[:80]!r}"
            )
        for row in reader:
            if not any(row):
                continue
            if len(row) != len(COLUMNS) or not all(cell.strip() for cell in row):
                raise ConfigError(
                    f"--from {file}, line {reader.line_num}: {','.join(row)[:80]!r} is no window with a class"
                )
            labels.append((row[0].strip(), row[1].strip()))
    except csv.Error as error:
        raise ConfigError(f"--from {file}, line {reader.line_num}: {error}") from error
    if not labels:
        raise ConfigError(f"--from {file} has no labels; write a line with a window and its class for each")
    return labels
