"""One small language in which an operator says which devices he means: ``labels > 50 and tag.site == "north"``.

A text is parsed to a condition (`conditions`); the stores look for the rows that meet it, a database in SQL with every
value bound, the one in memory with `matches`. Which fields there are is the caller's business (`Vocabulary`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from headway.later import loaded_later

if TYPE_CHECKING:
    from aggregator.filters.conditions import (
        All,
        Any,
        Comparison,
        Condition,
        Flagged,
        InGroup,
        Not,
        Property,
        bound_of,
        fields_in,
        groups_in,
        where_field_is,
        with_groups,
    )
    from aggregator.filters.matching import Facts, matches
    from aggregator.filters.parser import CHARACTERS_MAX, parse_filter
    from aggregator.filters.vocabulary import UNITS, Field, Quantity, Vocabulary

__all__ = [
    "CHARACTERS_MAX",
    "UNITS",
    "All",
    "Any",
    "Comparison",
    "Condition",
    "Facts",
    "Field",
    "Flagged",
    "InGroup",
    "Not",
    "Property",
    "Quantity",
    "Vocabulary",
    "bound_of",
    "fields_in",
    "groups_in",
    "matches",
    "parse_filter",
    "where_field_is",
    "with_groups",
]
WHERE = {
    "conditions": (
        "All Any Comparison Condition Flagged InGroup Not Property bound_of fields_in groups_in where_field_is "
        "with_groups"
    ),
    "matching": "Facts matches",
    "parser": "CHARACTERS_MAX parse_filter",
    "vocabulary": "Field Quantity UNITS Vocabulary",
}
if not TYPE_CHECKING:
    __getattr__ = loaded_later(__name__, WHERE)
