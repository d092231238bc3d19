"""Numbers epochs: the first one by lot, those of branches so that they tell where they begin.

The number of a branch is the same on every copy of a device that has the beginning of the branch in common, so that
what the copies share is counted once. It carries the position at which the branch begins, counted from the beginning
of the device's learner, so that the aggregator can tell whether two epochs count the same labels.
"""

from __future__ import annotations

from hashlib import blake2b

DRAWN_BITS = 48
# a branch's number: this bit, then 28 bits of a hash, then the position
BRANCH_BIT = 1 << 52
POSITION_BITS, HASH_BITS = 24, 28
POSITION_MAX = (1 << POSITION_BITS) - 1


def branch_epoch(parent: int, counter: int, run_id: int, position: int) -> int:
    """The epoch of the branch that leaves epoch `parent` at `counter` with run `run_id`, at `position`."""
    digest = blake2b(f"{parent} {counter} {run_id}".encode(), digest_size=8).digest()
    return numbered_epoch(int.from_bytes(digest, "little"), position)


def numbered_epoch(number: int, position: int) -> int:
    """An epoch that begins at `position`. number: any, of which 28 bits are used."""
    return BRANCH_BIT | (number % (1 << HASH_BITS)) << POSITION_BITS | min(position, POSITION_MAX)


def epoch_position(epoch: int) -> int | None:
    """Where an epoch begins; None for so late that its number does not tell."""
    position = epoch & POSITION_MAX if epoch & BRANCH_BIT else 0
    return None if position == POSITION_MAX else position
