"""Settings declared once: default, limits and one sentence stand at the field; reading, examples and pages follow.

@dataclass(frozen=True, slots=True)
class SensorSettings:
    poll_interval_s: float = number(1.0, low=0.01, high=3600, doc="Seconds between two looks into the folder.")

settings_from(SensorSettings, Fields(table, "sensor of agent.toml", ConfigError))
"""

from __future__ import annotations

import dataclasses
import logging
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from headway.errors import ConfigError
from headway.fields import Fields, nearest

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    S = TypeVar("S", bound=DataclassInstance)
T = TypeVar("T")
Text = TypeVar("Text", bound=str)

log = logging.getLogger("headway.settings")

INTEGER_MAX = 2**53
PATH_CHARACTERS_MAX = 4096
_SETTING = "setting"


class Kind(Enum):
    """What a setting holds."""

    TEXT = auto()
    PATH = auto()
    CHOICE = auto()
    INTEGER = auto()
    NUMBER = auto()
    BOOLEAN = auto()
    TEXTS = auto()
    NAMES = auto()
    TABLE = auto()


@dataclass(frozen=True, slots=True)
class Setting:
    """What is declared of a field beside its default.

    doc: one sentence, which names the unit; unit: said with the limits where the key does not end in it.
    key: where the value stands, ``key`` or ``table.key``; the field's own name when empty. formerly: the key of the
    release before. example: shown where the default says nothing. length_max: characters of a text; count_max: texts
    in a list. settings: the class of a table. in_file: default of the file, where the field has none because required
    ones follow it.
    """

    kind: Kind
    doc: str
    key: str = ""
    formerly: str = ""
    low: float = 0
    high: float = INTEGER_MAX
    unit: str = ""
    choices: tuple[str, ...] = ()
    length_max: int = 256
    count_max: int = 1
    example: object = None
    settings: type[Any] | None = None
    in_file: str | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One declared setting: field `name` of its class, read from `key` of `table` (empty: the table itself)."""

    name: str
    table: str
    key: str
    setting: Setting
    default: object

    @property
    def required(self) -> bool:
        return self.default is dataclasses.MISSING


def number(
    default: float, *, low: float, high: float, doc: str, key: str = "", formerly: str = "", unit: str = ""
) -> float:
    return _declared(default, Setting(Kind.NUMBER, doc, key, formerly, low, high, unit))


def integer(default: int, *, low: int = 0, high: int = INTEGER_MAX, doc: str, key: str = "", formerly: str = "") -> int:
    return _declared(default, Setting(Kind.INTEGER, doc, key, formerly, low, high))


def boolean(default: bool, *, doc: str, key: str = "", formerly: str = "", example: bool | None = None) -> bool:
    return _declared(default, Setting(Kind.BOOLEAN, doc, key, formerly, example=example))


def choice(default: Text, known: Iterable[str], *, doc: str, key: str = "", formerly: str = "") -> Text:
    return _declared(default, Setting(Kind.CHOICE, doc, key, formerly, choices=tuple(known)))


def text(
    default: str | None = None,
    *,
    doc: str,
    key: str = "",
    formerly: str = "",
    length_max: int = 256,
    example: str = "",
    in_file: str | None = None,
) -> str:
    """Without a default it must be given; with `in_file` only in Python, a file may leave it out."""
    setting = Setting(Kind.TEXT, doc, key, formerly, length_max=length_max, example=example or None, in_file=in_file)
    return _declared(default, setting)


def path(default: str | None = None, *, doc: str, key: str = "", formerly: str = "") -> Path:
    """Without a default it must be given; a relative one counts from the folder that the reader is told."""
    return _declared(None if default is None else Path(default), Setting(Kind.PATH, doc, key, formerly))


def optional_path(*, doc: str, key: str = "", formerly: str = "", example: str) -> Path | None:
    made: Path | None = field(
        default=None, metadata={_SETTING: Setting(Kind.PATH, doc, key, formerly, example=Path(example))}
    )
    return made


def texts(
    default: tuple[str, ...],
    *,
    doc: str,
    key: str = "",
    choices: Iterable[str] = (),
    count_max: int = 64,
    length_max: int = 256,
    example: tuple[str, ...] | None = None,
) -> tuple[str, ...]:
    setting = Setting(
        Kind.TEXTS, doc, key, choices=tuple(choices), count_max=count_max, length_max=length_max, example=example
    )
    return _declared(default, setting)


def names(*, doc: str, key: str = "", example: Mapping[str, str]) -> Mapping[str, str]:
    """A table from text to text, empty by default."""
    made: Mapping[str, str] = field(
        default_factory=dict, metadata={_SETTING: Setting(Kind.NAMES, doc, key, example=example)}
    )
    return made


def table(default: T, key: str = "", *, doc: str = "") -> T:
    """A settings class of its own, read from the table `key`, or, when empty, from that of the class around it."""
    return _declared(default, Setting(Kind.TABLE, doc, key, settings=type(default)))


def optional_table(settings: type[T], key: str, *, doc: str) -> T | None:
    """A settings class that is None while the table is missing."""
    made: T | None = field(default=None, metadata={_SETTING: Setting(Kind.TABLE, doc, key, settings=settings)})
    return made


def read_toml(file: Path) -> dict[str, object]:
    """Raises ConfigError, one line with the file and the reason."""
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} is not valid TOML: {error}") from error


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


def entries(cls: type[DataclassInstance], default: object = None, within: str = "") -> list[Entry]:
    """Every setting declared by the class and by the tables in it, in order."""
    found = []
    for each in dataclasses.fields(cls):
        setting: Setting = each.metadata[_SETTING]
        preset = _preset(each, default)
        if setting.settings is not None:
            found += entries(setting.settings, preset, setting.key or within)
        else:
            place, key = _place(each, setting)
            found.append(Entry(each.name, place or within, key, setting, preset))
    return found


def tables(cls: type[DataclassInstance]) -> dict[str, str]:
    """What is said of each table that has a settings class of its own, by name."""
    found: dict[str, str] = {}
    for each in dataclasses.fields(cls):
        setting: Setting = each.metadata[_SETTING]
        if setting.settings is not None:
            found |= {setting.key: setting.doc} if setting.key else {}
            found |= tables(setting.settings)
    return found


def limits(setting: Setting) -> str:
    """The limits in words, empty when there is nothing to say."""
    match setting.kind:
        case Kind.CHOICE | Kind.TEXTS if setting.choices:
            return ", ".join(f'"{known}"' for known in setting.choices)
        case Kind.NUMBER | Kind.INTEGER if setting.high >= INTEGER_MAX:
            return f"{plain(setting.low)} or more"
        case Kind.NUMBER | Kind.INTEGER:
            return f"{plain(setting.low)} to {plain(setting.high)} {setting.unit}".rstrip()
        case Kind.TEXT:
            return f"at most {plain(setting.length_max)} characters"
        case Kind.TEXTS:
            return f"at most {setting.count_max} texts of at most {setting.length_max} characters"
        case _:
            return ""


def plain(value: float) -> str:
    """A number as people write it: whole ones in full, in groups of three."""
    return f"{int(value):,}" if value == int(value) else f"{value:g}"


def _declared(default: T | None, setting: Setting) -> T:
    """None: it must be given."""
    metadata = {_SETTING: setting}
    made: T = field(metadata=metadata) if default is None else field(default=default, metadata=metadata)
    return made


def _read(cls: type[S], read: dict[str, Fields], default: S | None, base: Path) -> S:
    """read: the tables in use so far by name, "" for the one that the class itself stands in."""
    values: dict[str, Any] = {}
    for each in dataclasses.fields(cls):
        setting: Setting = each.metadata[_SETTING]
        preset = _preset(each, default)
        if setting.settings is not None:
            if not setting.key:
                values[each.name] = _read(setting.settings, read, preset, base)
            elif preset is not None or read[""].has(setting.key):
                values[each.name] = settings_from(setting.settings, read[""].table(setting.key), preset, base)
            continue
        place, key = _place(each, setting)
        if place not in read:
            read[place] = read[""].table(place)
        if setting.formerly and read[place].rename(setting.formerly, key):
            log.warning("%s of %s is now called %s; the old name is read for one release", setting.formerly,
                        read[place].where, key)  # fmt: skip
        values[each.name] = _value(read[place], key, setting, preset, base)
    return cls(**values)


def _value(fields: Fields, key: str, setting: Setting, preset: Any, base: Path) -> object:
    given = None if preset is dataclasses.MISSING else preset
    match setting.kind:
        case Kind.PATH:
            if given is None and setting.example is not None and not fields.has(key):
                return None
            return base / fields.text(key, None if given is None else str(given), length_max=PATH_CHARACTERS_MAX)
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
        case Kind.TEXTS:
            found = fields.strings(key, given, count_max=setting.count_max, length_max=setting.length_max)
            for item in found if setting.choices else ():
                if item not in setting.choices:
                    raise fields.error(f"{key} of {fields.where} has {item!r}{nearest(item, setting.choices)}")
            return found
        case _:
            return _names(fields, key)


def _names(fields: Fields, key: str) -> dict[str, str]:
    found = {}
    for name, to in fields.mapping(key).items():
        if not isinstance(to, str):
            raise fields.error(f"{key} of {fields.where} maps {name!r} to {to!r}; give a text")
        found[name] = to
    return found


def _preset(each: dataclasses.Field[Any], default: object) -> Any:
    if default is not None:
        return getattr(default, each.name)
    if each.default_factory is not dataclasses.MISSING:
        return each.default_factory()
    in_file: str | None = each.metadata[_SETTING].in_file
    return each.default if in_file is None else in_file


def _place(each: dataclasses.Field[Any], setting: Setting) -> tuple[str, str]:
    """Table and key of a field."""
    place, _, key = setting.key.rpartition(".")
    return place, key or each.name
