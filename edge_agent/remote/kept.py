"""Keeps what was decided about settings from afar: one small file, replaced as a whole, with a check sum."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from headway.durable import checked, read_regular, unchecked, write_durably
from headway.errors import StoreError
from headway.fields import Fields, canonical_json, parse_json
from headway.wire import SettingValue, checked_values

FILE = "configuration.remote"


@dataclass(frozen=True, slots=True)
class Kept:
    """version, wanted: what the aggregator asked for last. taken: of it and of what was before, the values that hold;
    refused: why others do not, by key. before: what holds again should the device fail with `taken`; confirmed: it has
    not. starts: that came to nothing since; well_s: seconds that it has run well, in starts that ended on request.
    """

    version: int = 0
    wanted: Mapping[str, SettingValue] = field(default_factory=dict)
    taken: Mapping[str, SettingValue] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    before: Mapping[str, SettingValue] = field(default_factory=dict)
    confirmed: bool = True
    starts: int = 0
    well_s: float = 0.0

    def encode(self) -> bytes:
        return canonical_json({name: _plain(getattr(self, name)) for name in self.__dataclass_fields__})

    @classmethod
    def decode(cls, payload: bytes) -> Kept:
        """Raises StoreError."""
        fields = Fields(parse_json(payload, FILE, StoreError), FILE, StoreError)
        kept = cls(
            fields.integer("version"),
            checked_values(fields.mapping("wanted"), FILE, StoreError),
            checked_values(fields.mapping("taken"), FILE, StoreError),
            {key: str(reason) for key, reason in fields.mapping("refused").items()},
            checked_values(fields.mapping("before"), FILE, StoreError),
            fields.boolean("confirmed"),
            fields.integer("starts"),
            fields.number("well_s", low=0.0, high=1e12),
        )
        fields.finish()
        return kept


def read_kept(state_dir: Path) -> Kept:
    """What was decided last; nothing where nothing was. Raises StoreError for a file that is damaged."""
    path = state_dir / FILE
    try:
        payload = read_regular(path)
    except FileNotFoundError:
        return Kept()
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror or error}") from error
    return Kept.decode(unchecked(payload, str(path)))


def write_kept(state_dir: Path, kept: Kept) -> None:
    """One durable write. Raises StoreError."""
    write_durably(state_dir / FILE, checked(kept.encode()))


def _plain(value: object) -> object:
    return dict(value) if isinstance(value, Mapping) else value
