"""Silences: which alerts are not told, and until when."""

from __future__ import annotations

from aggregator.alerts.rules import known_rule
from aggregator.registry import resolved
from aggregator.store import Store
from aggregator.store.rows import SILENCES, AlertRow, SilenceRow
from headway.errors import ConfigError

SERIAL = "silences_serial"
SILENCES_MAX = 200
UNTIL_MAX_S = 366 * 86_400.0


def add_silence(
    store: Store, rule: str, device: str, condition: str, until_s: float, who: str, remark: str, now_s: float
) -> SilenceRow:
    """Silence what fits all that is given. In a transaction; times are wall clock. Raises ConfigError."""
    if not rule and not device and not condition:
        raise ConfigError("say what to silence: --rule, --device or --filter")
    if not 0.0 < until_s - now_s <= UNTIL_MAX_S:
        raise ConfigError("a silence ends within a year from now; give another end")
    if rule:
        known_rule(store, rule)
    if condition:
        resolved(store, condition)
    end_old(store, now_s)
    if store.rows(SILENCES).count() >= SILENCES_MAX:
        raise ConfigError(f"there are {SILENCES_MAX} silences already; end one, or silence by a filter")
    number = store.number(SERIAL) + 1
    store.put_number(SERIAL, number)
    row = SilenceRow(number, rule, device, condition, until_s, who, remark, now_s)
    store.rows(SILENCES).put(row)
    return row


def end_silence(store: Store, number: int) -> SilenceRow:
    """End one before its time. In a transaction. Raises ConfigError where there is none."""
    row = store.rows(SILENCES).get(number)
    if row is None:
        raise ConfigError(f"there is no silence {number}; `edge-fleet silence list` shows them")
    store.rows(SILENCES).remove(number)
    return row


def end_old(store: Store, now_s: float) -> None:
    """Forget those whose time is over. In a transaction."""
    for row in store.rows(SILENCES).all():
        if row.until_s <= now_s:
            store.rows(SILENCES).remove(row.number)


class Silenced:
    """Which alerts are silenced at one moment, in one transaction; each filter is looked up once, when it is needed."""

    def __init__(self, store: Store, now_s: float) -> None:
        self._store, self._now_s = store, now_s
        self._rows = [row for row in store.rows(SILENCES).all() if row.until_s > now_s]
        self._devices: dict[int, frozenset[str]] = {}

    def __contains__(self, alert: AlertRow) -> bool:
        return self.by(alert) is not None

    def by(self, alert: AlertRow) -> SilenceRow | None:
        """The silence that an alert is under."""
        return next((row for row in self._rows if self._covers(row, alert)), None)

    def _covers(self, row: SilenceRow, alert: AlertRow) -> bool:
        if (row.rule and row.rule != alert.rule) or (row.device and row.device != alert.subject):
            return False
        return not row.condition or alert.subject in self._meeting(row)

    def _meeting(self, row: SilenceRow) -> frozenset[str]:
        if row.number not in self._devices:
            try:
                condition = resolved(self._store, row.condition)
            except ConfigError:
                # a group that it speaks of was deleted: whoever is in doubt is told
                self._devices[row.number] = frozenset()
            else:
                names = self._store.registry.columns(("device",), condition, self._now_s)
                self._devices[row.number] = frozenset(name for (name,) in names)
        return self._devices[row.number]
