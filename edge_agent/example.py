"""The commented agent.toml that comes with the program, and how values are set in it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from headway.errors import ConfigError


def example() -> str:
    """The commented agent.toml that the package brings."""
    return (files("edge_agent") / "systemd" / "agent.toml").read_text(encoding="utf-8")


def is_untouched(config: Path) -> bool:
    """Whether the file is the example as it was installed."""
    return config.read_bytes() == example().encode()


def with_values(text: str, settings: Mapping[str, object]) -> str:
    """The TOML text with these values in force, by ``table.key``, and their tables; all other lines stay."""
    for name, value in settings.items():
        table, _, key = name.partition(".")
        begin = re.search(rf"(?m)^#?\[{re.escape(table)}\]$", text)
        if begin is None:
            raise ConfigError(f"no table [{table}] in the example of agent.toml")
        rest = text[begin.end() :]
        end = re.search(r"(?m)^#?\[", rest)
        body = rest[: end.start()] if end else rest
        line = f"{key} = {json.dumps(value)}".replace("\\", r"\\")
        changed, count = re.subn(rf"(?m)^#?{re.escape(key)} = .*$", line, body, count=1)
        if count == 0:
            raise ConfigError(f"no key {key} in [{table}] of the example of agent.toml")
        text = f"{text[: begin.start()]}[{table}]" + changed + rest[len(body) :]
    return text


def without_table(text: str, table: str) -> str:
    """The TOML text with what is in force of one table commented out."""
    lines, inside = [], False
    for line in text.splitlines():
        if line.startswith("["):
            inside = line == f"[{table}]"
        lines.append(f"#{line}" if inside and line and not line.startswith("#") else line)
    return "\n".join(lines) + "\n"
