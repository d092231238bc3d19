"""Groups of devices: lists that people keep, and filters with names, which a device belongs to while it meets them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from functools import lru_cache

from aggregator.filters import Condition, InGroup, groups_in, parse_filter, with_groups
from aggregator.registry.vocabulary import VOCABULARY
from aggregator.store import ReadableStore, Store
from aggregator.store.rows import GROUPS, MEMBERS, GroupRow, MemberRow
from headway.errors import ConfigError, ConflictError, UnknownNameError
from headway.fields import nearest
from headway.names import checked_name

GROUPS_MAX = 500
# groups that one filter may come to speak of, those inside groups included, each as often as it is named
NAMED_MAX = 50
FILTERS_KEPT = 256


class GroupKind(StrEnum):
    """How a group's devices are known."""

    LIST = "list"
    FILTER = "filter"


def group_kind(row: GroupRow) -> GroupKind:
    return GroupKind.FILTER if row.condition else GroupKind.LIST


def put_list_group(store: Store, name: str, add: Sequence[str], remove: Sequence[str], now_s: float) -> None:
    """Make a list, or change one. In a transaction. Raises ConfigError."""
    group = _row(store, name, GroupKind.LIST)
    store.rows(GROUPS).put(GroupRow(group, "", now_s))
    members = store.rows(MEMBERS)
    for device in add:
        members.put(MemberRow(device, group))
    for device in remove:
        members.remove(device, group)


def put_filter_group(store: Store, name: str, text: str, now_s: float) -> None:
    """Save a filter under a name, or change a saved one. In a transaction. Raises ConfigError."""
    group = _row(store, name, GroupKind.FILTER)
    store.rows(GROUPS).put(GroupRow(group, text, now_s))
    resolved(store, text)  # after it is put: so that a group that means itself is found


def delete_group(store: Store, name: str) -> None:
    """Forget a group; the devices stay. In a transaction. Raises UnknownNameError, or ConflictError: others need it."""
    if store.rows(GROUPS).get(name) is None:
        raise UnknownNameError(f"there is no group {name!r}{_hint(store, name)}")
    for row in store.rows(GROUPS).all():
        if row.condition and name in groups_in(_parsed(row.condition)):
            raise ConflictError(f"group {row.name!r} speaks of {name!r}; change or delete that one first")
    for member in store.rows(MEMBERS).where(group_name=name):
        store.rows(MEMBERS).remove(member.device, name)
    store.rows(GROUPS).remove(name)


def group_size(store: Store, row: GroupRow, now_s: float) -> int:
    """How many devices belong to a group now. In a transaction."""
    if not row.condition:
        return len(store.rows(MEMBERS).where(group_name=row.name))
    return store.registry.count(resolved(store, row.condition), now_s)


def resolved(store: ReadableStore, text: str) -> Condition:
    """The condition of a filter with what each group in it means. In a transaction. Raises ConfigError."""
    named = 0

    def meaning(within: tuple[str, ...]) -> Callable[[str], Condition]:
        def of(group: str) -> Condition:
            nonlocal named
            named += 1
            if named > NAMED_MAX:
                raise ConfigError(f"the filter comes to more than {NAMED_MAX} groups; use fewer, or lists")
            if group in within:
                raise ConfigError(f"group {group!r} means itself, by way of {' and '.join(within)}; change one of them")
            row = known_group(store, group)
            if not row.condition:
                return InGroup(group)
            return with_groups(_parsed(row.condition), meaning((*within, group)))

        return of

    return with_groups(_parsed(text), meaning(())) if _speaks_of_groups(text) else _parsed(text)


@lru_cache(maxsize=FILTERS_KEPT)
def _speaks_of_groups(text: str) -> bool:
    """Whether a filter has another meaning when groups change. Raises ConfigError."""
    return any(groups_in(_parsed(text)))


@lru_cache(maxsize=FILTERS_KEPT)
def _parsed(text: str) -> Condition:
    """A filter as read once: alerts and groups ask for the same ones every few seconds. Raises ConfigError."""
    return parse_filter(text, VOCABULARY)


def _row(store: Store, name: str, kind: GroupKind) -> str:
    """A name for a group of this kind."""
    group = checked_name(name, "group")
    known = store.rows(GROUPS).get(group)
    if known is not None and group_kind(known) is not kind:
        raise ConflictError(f"group {group!r} is a {group_kind(known)}; delete it first, or choose another name")
    if known is None and store.rows(GROUPS).count() >= GROUPS_MAX:
        raise ConflictError(f"there are {GROUPS_MAX} groups already; delete one that nobody uses")
    return group


def known_group(store: ReadableStore, name: str) -> GroupRow:
    """The group of a name. In a transaction. Raises ConfigError where there is none."""
    row = store.rows(GROUPS).get(name)
    if row is None:
        raise ConfigError(f"there is no group {name!r}{_hint(store, name)}")
    return row


def _hint(store: ReadableStore, name: str) -> str:
    names = tuple(each.name for each in store.rows(GROUPS).all())
    return nearest(name, names) if names else "; make it with edge-fleet groups"
