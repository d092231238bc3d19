"""Attacking one target: count what is refused, stop at the first thing that should not happen."""

from __future__ import annotations

import numpy as np

from tests.fuzz.targets import Target

MESSAGE_CHARACTERS_MAX = 2000


class Find(Exception):
    """An input that made a parser raise something else than its family, or more than one line."""

    def __init__(self, target: str, payload: bytes, what: str) -> None:
        super().__init__(f"{target}: {what}")
        self.target, self.payload = target, payload


def attack(target: Target, count: int, random: np.random.Generator) -> int:
    """Parse `count` mutations; returns how many were refused. Raises Find."""
    refused, seeds = 0, target.valid()
    for index in range(count):
        payload = target.wrap(target.mutate(seeds[index % len(seeds)], seeds, random))
        if payload is None:
            continue
        try:
            target.parse(payload)
        except target.family as error:
            refused += 1
            text = str(error)
            if "\n" in text or len(text) > MESSAGE_CHARACTERS_MAX:
                raise Find(target.name, payload, f"message of {len(text)} characters or several lines") from error
        except Exception as error:
            raise Find(target.name, payload, f"{type(error).__name__} instead of {target.family.__name__}") from error
    return refused
