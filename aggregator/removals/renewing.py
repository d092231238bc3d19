"""Asks devices to drop a prior that may hold what was taken out; again where a store has forgotten that it asked."""

from __future__ import annotations

from collections.abc import Sequence

from aggregator.remote_commands import Asking, ask_many
from aggregator.removals.records import RemovalRecord
from aggregator.store import Store
from aggregator.store.rows import TOLD_PRIORS
from headway.errors import ConfigError

RENEW, WITHIN_S = "renew-prior", 30 * 86_400.0


def ask_to_renew(
    store: Store, device: str, spaces: Sequence[str], now_s: float
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Every device but this one that was told a prior in these spaces: which sums held what, is not kept.

    Returns those that were asked, and those that know no such command.
    """
    rows = store.rows(TOLD_PRIORS)
    return _ask(store, sorted({row.device for space in spaces for row in rows.where(space=space)} - {device}), now_s)


def ask_again(store: Store, record: RemovalRecord, now_s: float) -> None:
    """A store of an older day, or a new one, does not know that devices were asked. Those that were told another prior
    since then have dropped theirs."""
    rows = store.rows(TOLD_PRIORS)
    told = [row for space in record.sums for row in rows.where(space=space)]
    since = {row.device for row in told if row.told_at_s > record.at_s}
    _ask(store, sorted({*record.renewed, *(row.device for row in told)} - since - {record.device}), now_s)


def _ask(store: Store, devices: Sequence[str], now_s: float) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if not devices:
        return (), ()
    try:
        asked, problems = ask_many(store, devices, Asking(RENEW, {}, "service:forget", now_s, WITHIN_S))
    except ConfigError:
        return (), tuple(devices)
    return tuple(row.device for row in asked), tuple(sorted(problems))
