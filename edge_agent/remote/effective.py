"""Which values from afar a device takes: each by itself where they do not fit together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from edge_agent.config import AgentConfig
from headway.errors import ConfigError
from headway.fields import nearest
from headway.settings import entries
from headway.wire import SettingValue

REASON_CHARACTERS_MAX = 300
# the values over the file's: raises ConfigError where they do not fit it
Read = Callable[[Mapping[str, SettingValue]], AgentConfig]


@dataclass(frozen=True, slots=True)
class Decision:
    """What is taken, over the device's own file, and why the rest is not, by ``table.key``."""

    config: AgentConfig
    taken: Mapping[str, SettingValue] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)


def decide(read: Read, wanted: Mapping[str, SettingValue], before: Mapping[str, SettingValue]) -> Decision:
    """What of `wanted` holds; a value that is refused leaves the one in `before`, where there is one and it fits.

    Raises ConfigError when the device's own file cannot be used.
    """
    own = read({})
    refused: dict[str, str] = {}
    possible: dict[str, SettingValue] = {}
    for key, value in wanted.items():
        problem = _problem_with(key)
        if problem:
            refused[key] = problem
        else:
            possible[key] = value
    config, taken = own, dict[str, SettingValue]()
    try:
        config, taken = read(possible), possible
    except ConfigError:
        # not all together: one after the other
        for key, value in possible.items():
            try:
                config = read({**taken, key: value})
                taken[key] = value
            except ConfigError as error:
                refused[key] = str(error)[:REASON_CHARACTERS_MAX]
    for key in refused.keys() & before.keys():
        try:
            config = read({**taken, key: before[key]})
            taken[key] = before[key]
        except ConfigError as error:
            refused[key] = f"{refused[key]}; nor is the value before it of use any more: {error}"[
                :REASON_CHARACTERS_MAX
            ]
    return Decision(config, taken, refused)


def in_force(config: AgentConfig) -> dict[str, SettingValue]:
    """Every setting that may be changed from afar, as it is, by ``table.key``."""
    found: dict[str, SettingValue] = {}
    for place, path in REMOTE.items():
        value: Any = config
        for name in path:
            value = getattr(value, name)
        found[place] = str(value) if isinstance(value, str) else value
    return found


def _remote() -> dict[str, tuple[str, ...]]:
    """Where each such setting stands in an `AgentConfig`: names of fields, one within the other."""
    found: dict[str, tuple[str, ...]] = {}
    for entry in entries(AgentConfig):
        if entry.setting.remote:
            found[f"{entry.table}.{entry.key}"] = (entry.table, entry.name)
    return found


REMOTE = _remote()


def _problem_with(key: str) -> str:
    if key in REMOTE:
        return ""
    known = {f"{entry.table}.{entry.key}" for entry in entries(AgentConfig)}
    if key in known:
        return "can only be changed in the device's own file"
    return f"is unknown here{nearest(key, tuple(REMOTE))}"[:REASON_CHARACTERS_MAX]
