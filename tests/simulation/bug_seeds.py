"""``python -m tests.simulation.bug_seeds [BUG ...]``: by which seed each planted bug is found in the least time."""

from __future__ import annotations

import logging
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from headway_simulation.runner import Failure, run_seed
from tests.simulation.bugs import BUGS
from tests.simulation.test_bugs import SEEDS_MAX

SEED_S, BUG_S, SOON_S = 5.0, 20.0, 0.5


class _TooLong(BaseException):
    """A run has taken as long as the best one before it; no Exception, which the runner would take for a finding."""


def main(names: list[str]) -> None:
    """Look for at most `BUG_S` seconds of computing at each bug, and less where one is found within `SOON_S`."""
    logging.disable(logging.WARNING)
    signal.signal(signal.SIGPROF, _end)
    for name in names or BUGS:
        best_s, best, began_s = SEED_S, None, time.process_time()
        for seed in range(SEEDS_MAX):
            took_s = _found_in_s(name, seed, best_s)
            if took_s is not None:
                best_s, best = took_s, seed
            if best is not None and (best_s < SOON_S or time.process_time() > began_s + BUG_S):
                break
        print(f'    "{name}": {best},  # {best_s:.2f} s', flush=True)


def _found_in_s(name: str, seed: int, limit_s: float) -> float | None:
    start_s = time.process_time()
    try:
        with _at_most(limit_s):
            result = run_seed(seed, build=BUGS[name])
    except _TooLong:
        return None
    found = isinstance(result, Failure) and "Traceback" not in result.problem
    return time.process_time() - start_s if found else None


@contextmanager
def _at_most(limit_s: float) -> Iterator[None]:
    signal.setitimer(signal.ITIMER_PROF, limit_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _end(*_: object) -> None:
    raise _TooLong


if __name__ == "__main__":
    main(sys.argv[1:])
