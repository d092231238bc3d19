"""Writes docs/configuration.md and the commented examples in systemd/ from the settings as they are declared.

    make configuration

tests/test_configuration.py fails while one of the files says something else.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from aggregator.config import Settings
from converter.options import Options
from edge_agent.config import AgentConfig
from headway.settings import Entry, Kind, entries, limits, optional_tables, tables, written

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "configuration.md"
COLUMNS = 120


@dataclass(frozen=True, slots=True)
class Program:
    """One program with a configuration file. shown: what its example sets, by ``table.key``, for systemd's folders.

    examples: values that the example shows, commented out, instead of those declared.
    """

    command: str
    settings: type[DataclassInstance]
    example: Path
    title: str
    paths: str
    shown: Mapping[str, object]
    examples: Mapping[str, object]


PROGRAMS = (
    Program(
        "edge-agent run /etc/headway/agent.toml",
        AgentConfig,
        ROOT / "systemd" / "agent.toml",
        "the edge agent",
        "this file's folder",
        {
            "device.id": "device-1",
            "device.fleet": "default",
            "bundle.path": "/etc/headway/model.hwb",
            "storage.state_dir": "/var/lib/edge-agent",
            "sensor.spool_dir": "/var/spool/headway/in",
            "sensor.predictions_dir": "/var/spool/headway/predictions",
            "mqtt.host": "localhost",
            "mqtt.port": 1883,
        },
        {},
    ),
    Program(
        "edge-fleet serve --config /etc/headway/aggregator.toml",
        Settings,
        ROOT / "systemd" / "aggregator.toml",
        "the aggregator",
        "this file's folder",
        {
            "fleet.name": "default",
            "bundle.path": "/etc/headway/model.hwb",
            "storage.state_dir": "/var/lib/headway-aggregator",
            "mqtt.host": "localhost",
            "mqtt.port": 1883,
        },
        {
            "mqtt.username": "aggregator",
            "mqtt.password_file": "/etc/headway/aggregator.password",
            "mqtt.cert_file": "/etc/headway/aggregator.pem",
            "mqtt.key_file": "/etc/headway/aggregator.key",
        },
    ),
)


def main() -> None:
    for path, text in files().items():
        path.write_text(text, encoding="utf-8")
        print(path.relative_to(ROOT))


def files() -> dict[Path, str]:
    """Everything that is generated, by path."""
    return {PAGE: page()} | {program.example: example(program) for program in PROGRAMS}


def example(program: Program) -> str:
    """The commented TOML file of one program: a line ``#key = value`` is a setting at its default."""
    lines = [
        *_comment(f"Configuration of {program.title} ({program.command})."),
        *_comment(
            "A line that begins with # and no space is a setting that need not be given: remove the # and change the "
            "value. It shows the default, or an example where the text names the default. An unknown key is an error "
            f"that names the nearest known one. Relative paths count from {program.paths}."
        ),
        "# Written by `make configuration`.",
    ]
    said = tables(program.settings)
    # a table that is there at all is in force: these stay comments while nothing in them is set
    idle = optional_tables(program.settings) - {place.partition(".")[0] for place in program.shown}
    for name, group in _grouped(program.settings).items():
        lines += ["", *_comment(said.get(name, "")), f"#[{name}]" if name in idle else f"[{name}]"]
        for entry in group:
            lines += _setting(entry, program)
    return "\n".join(lines) + "\n"


def page() -> str:
    """docs/configuration.md."""
    lines = [
        "# Configuration",
        "",
        "Every setting of the three programs, written by `make configuration` from where the settings are declared:",
        "`edge_agent/config.py`, `aggregator/config.py`, `aggregator/policy.py`, `headway/mqtt/settings.py` and",
        "`converter/options.py`. Files to start from: [agent.toml](../systemd/agent.toml) and",
        "[aggregator.toml](../systemd/aggregator.toml). Reading is strict: an unknown key, a value out of its",
        "limits or a missing key that must be given is an error of one line. Relative paths count from the folder of",
        "the file that holds them, those of an option from the folder in which the command runs. Which setting helps",
        "in which case: [tune-the-learner.md](howto/tune-the-learner.md), [mqtt.md](howto/mqtt.md). What is marked",
        "*also from afar* can be changed by the aggregator: [configure-devices.md](howto/configure-devices.md).",
    ]
    for program in PROGRAMS:
        said = tables(program.settings)
        lines += ["", f"## {program.example.name}", "", f"`{program.command}`"]
        for name, group in _grouped(program.settings).items():
            lines += ["", f"### [{name}]", ""]
            lines += [said[name], ""] if name in said else []
            lines += _table("key", group)
    lines += [
        "",
        "## edge-convert",
        "",
        "In Python the same choices are fields of `converter.Options`. A command also names the model, `--data` and",
        "`--out`: [convert.md](howto/convert.md).",
        "",
        *_table("option", entries(Options)),
        "",
        "## Renamed keys",
        "",
        "An old key is read for one release, with a warning that names the new one; giving both is an error.",
        "",
        "| file | old key | new key |",
        "|---|---|---|",
    ]
    for program in PROGRAMS:
        lines += [
            f"| {program.example.name} | `[{entry.table}] {entry.setting.formerly}` | `{entry.key}` |"
            for entry in entries(program.settings)
            if entry.setting.formerly
        ]
    return "\n".join(lines) + "\n"


def toml(value: object) -> str:
    """A value as TOML writes it."""
    match value:
        case bool():
            return str(value).lower()
        case int() | float():
            return f"{value:_}" if value >= 10_000 else str(value)
        case tuple():
            return f"[{', '.join(map(toml, value))}]"
        case Mapping():
            return f"{{ {', '.join(f'{toml(name)} = {toml(to)}' for name, to in value.items())} }}"
        case _:
            return json.dumps(str(value), ensure_ascii=False)


def _grouped(settings: type[DataclassInstance]) -> dict[str, list[Entry]]:
    """Entries by table, in the order in which the tables first appear."""
    found: dict[str, list[Entry]] = {}
    for entry in entries(settings):
        found.setdefault(entry.table, []).append(entry)
    return found


def _setting(entry: Entry, program: Program) -> Iterator[str]:
    place = f"{entry.table}.{entry.key}"
    shown = program.shown.get(place)
    value = shown if shown is not None else program.examples.get(place, entry.setting.example)
    told = [entry.setting.doc, _limits(entry)]
    if entry.required:
        told.append("Must be given.")
    elif value is None:
        value = entry.default
    elif value != entry.default:
        told.append(f"Default: {_default(entry)}.")
    yield from _comment(" ".join(filter(None, told)))
    yield f"{'' if shown is not None else '#'}{entry.key} = {toml(value)}"


def _table(first: str, group: list[Entry]) -> Iterator[str]:
    yield f"| {first} | default | limits | |"
    yield "|---|---|---|---|"
    for entry in group:
        default = "must be given" if entry.required else _default(entry)
        default = default if default in ("must be given", "none") else f"`{default}`"
        doc = entry.setting.doc + (" *Also from afar.*" if entry.setting.remote else "")
        cells = (f"`{entry.key}`", default, limits(entry.setting), doc)
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |".replace("|  |", "| |")


def _limits(entry: Entry) -> str:
    said = limits(entry.setting)
    if entry.setting.kind is Kind.CHOICE:
        return f"One of {said}."
    if entry.setting.kind in (Kind.INTEGER, Kind.NUMBER) and "to" in said:
        return f"From {said}."
    return f"{said[0].upper()}{said[1:]}." if said else ""


def _default(entry: Entry) -> str:
    return "none" if entry.default in (None, "", (), {}) else toml(written(entry.setting, entry.default))


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, COLUMNS, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)


if __name__ == "__main__":
    main()
