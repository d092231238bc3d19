"""Orders the versions of the fleet's heads, the same way on devices and on the aggregator.

Versions only grow, one by one. A number far from the known one is no successor: it comes from somebody else than the
fleet's aggregator, or from before that was set up anew. So no single number, however large, ends the row of heads.
"""

from __future__ import annotations

# a head every 5 s for 680 years
VERSION_STEP_MAX = 1 << 32
# the highest version from which an aggregator goes on: its successors must stay readable, see section 7 of the protocol
VERSION_MAX = (1 << 53) - (1 << 40)


def succeeds(version: int, known: int) -> bool:
    """Whether head `version` comes after head `known`: it is higher, by a step that a fleet can have made.

    A head that is lower by more than such a step comes after it, too: then `known` was no head of this fleet.
    """
    return 0 < version - known <= VERSION_STEP_MAX or known - version > VERSION_STEP_MAX


def may_go_on_from(version: int, known: int) -> bool:
    """Whether an aggregator that knows of head `known` (0: none) may number its next head after `version`."""
    return 0 < version - known <= VERSION_STEP_MAX and version <= VERSION_MAX
