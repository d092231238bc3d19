"""Whoever asks something of a fleet: on which store, under which name, and when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aggregator.audit import local_user, record
from aggregator.store import Store
from headway.errors import ConfigError, UnknownNameError
from headway.fields import JsonValue
from headway.ports import Clock
from headway.wire import checked_name


@dataclass(frozen=True, slots=True)
class Operator:
    """who: as the audit log names them (`AuditRow.who`). now_s: wall clock.

    Every function of this room that is given one runs inside a transaction of its store, in which what it does is
    entered in the audit log, too.
    """

    store: Store
    who: str
    now_s: float

    @classmethod
    def local(cls, store: Store, clock: Clock) -> Operator:
        """The user of this machine who runs the command."""
        return cls(store, local_user(), clock.wall_s())

    def did(self, act: str, subject: str, **detail: JsonValue) -> None:
        """Enter an act in the audit log, in its transaction."""
        record(self.store, self.who, act, subject, self.now_s, **detail)

    def known(self, names: Sequence[str]) -> list[str]:
        """The same names of devices. Raises ConfigError for one that no device of the fleet has."""
        for name in names:
            if self.store.device(checked_name(name, "device")) is None:
                raise ConfigError(f"no device {name!r} in this fleet; `edge-fleet devices` lists them")
        return [*names]

    def the(self, name: str) -> str:
        """The same for the one device that is asked about. Raises UnknownNameError."""
        if self.store.device(checked_name(name, "device")) is None:
            raise UnknownNameError(f"no device {name!r} in this fleet; `edge-fleet devices` lists them")
        return name
