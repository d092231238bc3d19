"""``python -m tests.simulation --seed N --devices D --hours H --runs K``"""

from __future__ import annotations

import os

# one BLAS thread, as the programs themselves run: the same bits everywhere
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import sys

from headway_simulation.runner import main

if __name__ == "__main__":
    sys.exit(main())
