"""Reading settings strictly, from a TOML table or as Python code gives them."""

from __future__ import annotations

import dataclasses
import logging
import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from headway.errors import ConfigError, reason
from headway.fields import Fields, nearest
from headway.settings.declaration import (
    PATH_CHARACTERS_MAX,
    SETTING,
    Kind,
    Setting,
    default_of,
    entries,
    limits,
    place_of,
)

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    S = TypeVar("S", bound=DataclassInstance)

log = logging.getLogger("headway.settings")
# axes of a shape
LENGTHS_MAX = 8


def read_toml(file: Path) -> dict[str, object]:
    """Raises ConfigError, one line with the file and the reason."""
    try:
        # editors on Windows begin a file with a byte order mark
        return tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {reason(error)}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} is no UTF-8 from byte {error.start} on; save it as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file} is not valid TOML: {error}") from error
    except RecursionError as error:
        raise ConfigError(f"{file} is not valid TOML: its brackets are nested too deeply") from error


def settings_from(cls: type[S], fields: Fields, default: S | None = None, base: Path = Path()) -> S:
    """Read a table strictly; what it leaves out comes from `default`, or is as declared.

    base: folder that relative paths count from. Raises the family of `fields` for a value out of its limits, a
    required key that is missing, a key given under its old and its new name, and an unknown key, of which it names the
    nearest known one. A key under its old name alone is read, and a warning names the new one.
    """
    tables = {"": fields}
    made = _read(cls, tables, default, base)
    for read in reversed(tables.values()):
        read.finish()
    return made


def check(settings: DataclassInstance) -> None:
    """Refuse a value out of its declared limits, for classes that Python code builds. Raises ConfigError."""
    for entry in entries(type(settings)):
        value, setting = getattr(settings, entry.name), entry.setting
        match setting.kind:
            case Kind.INTEGER | Kind.NUMBER if not setting.low <= value <= setting.high:
                raise ConfigError(f"{entry.key} {value} must be {'' if setting.words else 'from '}{limits(setting)}")
            case Kind.TEXT if len(value) > setting.length_max:
                raise ConfigError(f"{entry.key} has {len(value)} characters; at most {setting.length_max} are taken")
            case Kind.CHOICE:
                _check_known(entry.key, (value,), setting.choices)
            case Kind.LENGTHS if value and (min(value) < 1 or setting.count_max not in (0, len(value))):
                raise ConfigError(f"{entry.key} {','.join(map(str, value))} must be {limits(setting)}, above 0")
            case Kind.TEXTS if len(value) > setting.count_max:
                raise ConfigError(f"{entry.key} names {len(value)}; at most {setting.count_max} are taken")
            case Kind.TEXTS if any(len(item) > setting.length_max for item in value):
                raise ConfigError(f"{entry.key} has a text of more than {setting.length_max} characters")
            case Kind.TEXTS if setting.choices:
                _check_known(entry.key, value, setting.choices)


def _read(cls: type[S], read: dict[str, Fields], default: S | None, base: Path) -> S:
    """read: the tables in use so far by name, "" for the one that the class itself stands in."""
    values: dict[str, Any] = {}
    for each in dataclasses.fields(cls):
        setting: Setting = each.metadata[SETTING]
        preset = default_of(each, default)
        if setting.settings is not None:
            if setting.several:
                values[each.name] = _several(setting, read[""], base)
            elif not setting.key:
                values[each.name] = _read(setting.settings, read, preset, base)
            elif preset is not None or read[""].has(setting.key):
                values[each.name] = settings_from(setting.settings, read[""].table(setting.key), preset, base)
            continue
        place, key = place_of(each, setting)
        if place not in read:
            read[place] = read[""].table(place)
        if setting.formerly and read[place].rename(setting.formerly, key):
            log.warning("%s of %s is now called %s; the old name is read for one release", setting.formerly,
                        read[place].where, key)  # fmt: skip
        values[each.name] = _value(read[place], key, setting, preset, base)
    return cls(**values)


def _several(setting: Setting, fields: Fields, base: Path) -> tuple[object, ...]:
    """Tables by name within one; or that one alone, as long as it holds values itself."""
    cls: Any = setting.settings
    found = fields.mapping(setting.key) if fields.has(setting.key) else {}
    named = [name for name, value in found.items() if isinstance(value, dict)]
    if not found:
        return ()
    if not named:
        return (settings_from(cls, fields.table(setting.key), base=base),)
    if len(named) < len(found):
        other = next(name for name in found if name not in named)
        raise fields.error(f"[{setting.key}] holds {other} beside the table [{setting.key}.{named[0]}]; put it into "
                           f"one of its tables [{setting.key}.NAME]")  # fmt: skip
    tables = fields.table(setting.key)
    made = tuple(settings_from(cls, tables.table(name), cls(name=name), base) for name in named)
    tables.finish()
    return made


def _value(fields: Fields, key: str, setting: Setting, preset: Any, base: Path) -> object:
    given = None if preset is dataclasses.MISSING else preset
    match setting.kind:
        case Kind.PATH:
            if preset is None and not fields.has(key):
                return None
            text = fields.text(key, None if given is None else str(given), length_max=PATH_CHARACTERS_MAX)
            return None if preset is None and not text else _path(f"{key} of {fields.where}", text, setting, base)
        case Kind.TEXT:
            return fields.text(key, given, length_max=setting.length_max)
        case Kind.CHOICE:
            return type(preset)(fields.choice(key, setting.choices, given))
        case Kind.INTEGER:
            return fields.integer(key, given, low=int(setting.low), high=int(setting.high))
        case Kind.NUMBER:
            return fields.number(key, given, low=setting.low, high=setting.high)
        case Kind.BOOLEAN:
            return fields.boolean(key, given)
        case Kind.LENGTHS:
            return fields.integers(key, low=1, count_max=setting.count_max or LENGTHS_MAX, default=given)
        case Kind.TEXTS:
            found = fields.strings(key, given, count_max=setting.count_max, length_max=setting.length_max)
            for item in found if setting.choices else ():
                if item not in setting.choices:
                    raise fields.error(f"{key} of {fields.where} has {item!r}{nearest(item, setting.choices)}")
            return found
        case _:
            return _names(fields, key)


def _path(where: str, text: str, setting: Setting, base: Path) -> Path:
    found, here = base / text, Path(text)
    if setting.formerly_here and os.path.exists(here) and not os.path.exists(found):  # of a closed folder no error
        log.warning(
            "%s: %s does not exist, so %s is taken, as before; relative paths count from the folder of the file, and "
            "from the next release on from there alone: write the whole path",
            where,
            found,
            here.absolute(),
        )
        return here.absolute()
    return found


def _names(fields: Fields, key: str) -> dict[str, str]:
    found = {}
    for name, to in fields.mapping(key).items():
        if not isinstance(to, str):
            raise fields.error(f"{key} of {fields.where} maps {name!r} to {to!r}; give a text")
        found[name] = to
    return found


def _check_known(key: str, given: tuple[str, ...], known: tuple[str, ...]) -> None:
    if not given:
        raise ConfigError(f"{key} is empty{nearest('', known)}")
    for item in given:
        if item not in known:
            raise ConfigError(f"{key} {item!r} is unknown{nearest(str(item), known)}")
