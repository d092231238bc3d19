"""python -m tests.fuzz: mutate valid inputs for FUZZ_SECONDS (60), from FUZZ_SEED (the day); exit code 1 on a find.

FUZZ_TARGETS: only those whose names begin so ("spool").
"""

from __future__ import annotations

import datetime
import logging
import os
import sys
import time
import traceback
from pathlib import Path

import numpy as np

from tests.fuzz.run import Find, attack
from tests.fuzz.targets import targets

ROUND = 200


def main() -> int:
    seconds = float(os.environ.get("FUZZ_SECONDS", "60"))
    seed = int(os.environ.get("FUZZ_SEED", datetime.date.today().toordinal()))
    random = np.random.default_rng(seed)
    logging.disable()  # what is damaged is logged, a thousand times
    attacked = [target for target in targets() if target.name.startswith(os.environ.get("FUZZ_TARGETS", ""))]
    tried, refused, end = 0, 0, time.monotonic() + seconds
    while time.monotonic() < end:
        for target in attacked:
            try:
                refused += attack(target, ROUND // target.cost, random)
            except Find as find:
                path = Path(f"fuzz-find-{find.target.replace(' ', '-')}.bin")
                path.write_bytes(find.payload)
                traceback.print_exception(find.__cause__)
                print(f"{find}; the input is in {path}, seed {seed}", file=sys.stderr)
                return 1
            tried += ROUND // target.cost
            if time.monotonic() > end:
                break
    print(f"{tried:,} mutated inputs in {seconds:g} s, {refused:,} refused, nothing else came out (seed {seed})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
