"""How a setting is declared: at the dataclass field, with default, limits and one sentence.

@dataclass(frozen=True, slots=True)
class SensorSettings:
    poll_interval_s: float = number(1.0, low=0.01, high=3600, doc="Seconds between two looks into the folder.")
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")
Text = TypeVar("Text", bound=str)

INTEGER_MAX = 2**53
PATH_CHARACTERS_MAX = 4096
SETTING = "setting"


class Kind(Enum):
    """What a setting holds."""

    TEXT = auto()
    PATH = auto()
    CHOICE = auto()
    INTEGER = auto()
    NUMBER = auto()
    BOOLEAN = auto()
    TEXTS = auto()
    LENGTHS = auto()
    NAMES = auto()
    TABLE = auto()


@dataclass(frozen=True, slots=True)
class Setting:
    """What is declared of a field beside its default.

    doc: one sentence, which names the unit; unit: said with the limits where the key does not end in it.
    key: where the value stands, ``key`` or ``table.key``; the field's own name when empty. formerly: the key of the
    release before. example: shown where the default says nothing. length_max: characters of a text; count_max: texts
    in a list. settings: the class of a table. in_file: default of the file, where the field has none because required
    ones follow it. formerly_here: in the release before, a relative path counted from the working directory. words:
    values below zero that people write as a word. remote: the aggregator may change it from afar: nothing that decides
    where data goes, whom the device trusts, or whether it can be reached again. several: any number of tables, each
    within the table `key` under its own name.
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
    formerly_here: bool = False
    words: tuple[tuple[str, int], ...] = ()
    remote: bool = False
    several: bool = False


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
    default: float, *, low: float, high: float, doc: str, key: str = "", formerly: str = "", unit: str = "",
    remote: bool = False,
) -> float:  # fmt: skip
    return _declared(default, Setting(Kind.NUMBER, doc, key, formerly, low, high, unit, remote=remote))


def integer(
    default: int,
    *,
    low: int = 0,
    high: int = INTEGER_MAX,
    doc: str,
    key: str = "",
    formerly: str = "",
    words: Mapping[str, int] | None = None,
    remote: bool = False,
) -> int:
    named = tuple((words or {}).items())
    low = min([low, *(value for _, value in named)])
    return _declared(default, Setting(Kind.INTEGER, doc, key, formerly, low, high, words=named, remote=remote))


def boolean(
    default: bool, *, doc: str, key: str = "", formerly: str = "", example: bool | None = None, remote: bool = False
) -> bool:
    return _declared(default, Setting(Kind.BOOLEAN, doc, key, formerly, example=example, remote=remote))


def choice(
    default: Text, known: Iterable[str], *, doc: str, key: str = "", formerly: str = "", remote: bool = False
) -> Text:
    return _declared(default, Setting(Kind.CHOICE, doc, key, formerly, choices=tuple(known), remote=remote))


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


def path(
    default: str | None = None, *, doc: str, key: str = "", formerly: str = "", formerly_here: bool = False
) -> Path:
    """Without a default it must be given; a relative one counts from the folder that the reader is told."""
    setting = Setting(Kind.PATH, doc, key, formerly, formerly_here=formerly_here)
    return _declared(None if default is None else Path(default), setting)


def optional_path(
    *, doc: str, key: str = "", formerly: str = "", example: str, formerly_here: bool = False
) -> Path | None:
    """An empty text in the file means none, too."""
    setting = Setting(Kind.PATH, doc, key, formerly, example=Path(example), formerly_here=formerly_here)
    made: Path | None = field(default=None, metadata={SETTING: setting})
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


def lengths(*, doc: str, key: str = "", count: int = 0) -> tuple[int, ...]:
    """Positive whole numbers such as a shape, none by default. count: so many of them, 0 for any."""
    return _declared((), Setting(Kind.LENGTHS, doc, key, count_max=count))


def names(*, doc: str, key: str = "", example: Mapping[str, str]) -> Mapping[str, str]:
    """A table from text to text, empty by default."""
    made: Mapping[str, str] = field(
        default_factory=dict, metadata={SETTING: Setting(Kind.NAMES, doc, key, example=example)}
    )
    return made


def table(default: T, key: str = "", *, doc: str = "") -> T:
    """A settings class of its own, read from the table `key`, or, when empty, from that of the class around it."""
    return _declared(default, Setting(Kind.TABLE, doc, key, settings=type(default)))


def optional_table(settings: type[T], key: str, *, doc: str) -> T | None:
    """A settings class that is None while the table is missing."""
    made: T | None = field(default=None, metadata={SETTING: Setting(Kind.TABLE, doc, key, settings=settings)})
    return made


def named_tables(settings: type[T], key: str, *, doc: str) -> tuple[T, ...]:
    """Any number of tables ``[key.NAME]``, none by default; of a single one ``[key]`` with a `name` in it, too.

    settings: has a field `name`, which is the table's where it gives none.
    """
    setting = Setting(Kind.TABLE, doc, key, settings=settings, several=True)
    made: tuple[T, ...] = field(default=(), metadata={SETTING: setting})
    return made


def entries(cls: type[DataclassInstance], default: object = None, within: str = "") -> list[Entry]:
    """Every setting declared by the class and by the tables in it, in order."""
    found = []
    for each in dataclasses.fields(cls):
        setting: Setting = each.metadata[SETTING]
        preset = None if setting.several else default_of(each, default)
        if setting.settings is not None:
            found += entries(setting.settings, preset, setting.key or within)
        else:
            table, key = place_of(each, setting)
            found.append(Entry(each.name, table or within, key, setting, preset))
    return found


def tables(cls: type[DataclassInstance]) -> dict[str, str]:
    """What is said of each table that has a settings class of its own, by name."""
    found: dict[str, str] = {}
    for each in dataclasses.fields(cls):
        setting: Setting = each.metadata[SETTING]
        if setting.settings is not None:
            found |= {setting.key: setting.doc} if setting.key else {}
            found |= tables(setting.settings)
    return found


def optional_tables(cls: type[DataclassInstance]) -> set[str]:
    """Names of the tables whose mere presence means something."""
    declared = ((each, each.metadata[SETTING]) for each in dataclasses.fields(cls))
    return {setting.key for each, setting in declared if setting.settings is not None and each.default is None}


def limits(setting: Setting) -> str:
    """The limits in words, empty when there is nothing to say."""
    match setting.kind:
        case Kind.CHOICE | Kind.TEXTS if setting.choices:
            return ", ".join(f'"{known}"' for known in setting.choices)
        case Kind.INTEGER if setting.words:
            return f"{', '.join(word for word, _ in setting.words)}, or 0 to {plain(setting.high)}"
        case Kind.NUMBER | Kind.INTEGER if setting.high >= INTEGER_MAX:
            return f"{plain(setting.low)} or more"
        case Kind.NUMBER | Kind.INTEGER:
            return f"{plain(setting.low)} to {plain(setting.high)} {setting.unit}".rstrip()
        case Kind.TEXT:
            return f"at most {plain(setting.length_max)} characters"
        case Kind.LENGTHS:
            return f"{setting.count_max or 'positive'} whole numbers"
        case Kind.TEXTS:
            return f"at most {setting.count_max} texts of at most {setting.length_max} characters"
        case _:
            return ""


def written(setting: Setting, value: object) -> object:
    """The value as people write it: a word where it has one."""
    return next((word for word, meant in setting.words if meant == value), value)


def plain(value: float) -> str:
    """A number as people write it: whole ones in full, in groups of three."""
    return f"{int(value):,}" if value == int(value) else f"{value:g}"


def _declared(default: T | None, setting: Setting) -> T:
    """None: it must be given."""
    metadata = {SETTING: setting}
    made: T = field(metadata=metadata) if default is None else field(default=default, metadata=metadata)
    return made


def default_of(each: dataclasses.Field[Any], default: object) -> Any:
    """The field's value in `default`, else the declared one; MISSING: it must be given."""
    if default is not None:
        return getattr(default, each.name)
    if each.default_factory is not dataclasses.MISSING:
        return each.default_factory()
    in_file: str | None = each.metadata[SETTING].in_file
    return each.default if in_file is None else in_file


def place_of(each: dataclasses.Field[Any], setting: Setting) -> tuple[str, str]:
    """Table and key of a field."""
    table, _, key = setting.key.rpartition(".")
    return table, key or each.name
