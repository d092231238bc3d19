"""What one kind of machine makes of given windows and codes: python tables.py BUNDLE.hwb WINDOWS.npz, one line of JSON.

WINDOWS.npz: x (n, *input_shape), y int64 (n,), codes int8 (n, d). "tables" and "head" are digests of the exact tables
of `codes` and of the head that is solved from them. What each backbone of the bundle makes of x is written beside it as
made.npz: codes int8 (n, d) under the name of its precision.
"""

from __future__ import annotations

import hashlib
import json
import platform
import sys
from pathlib import Path

import numpy as np

from edge_agent.pipeline import Pipeline
from edge_agent.runtime import TFLiteRuntime
from headway.bundle import read_variant
from headway.maths import Statistics, fleet_head

CODES_FILE = "made.npz"


def made_here(bundle: Path, windows: Path, codes_file: Path) -> dict[str, str]:
    """The line's content. codes_file: where the backbones' codes are written."""
    variant = read_variant(bundle)
    with np.load(windows) as arrays:
        x, y, codes = arrays["x"], arrays["y"], arrays["codes"]
    tables = Statistics.of(codes, y, variant.classes, variant.space)
    head = fleet_head(variant.training_statistics, tables)
    own = {}
    for backbone in variant.backbones:
        runtime = TFLiteRuntime("ai_edge_litert", backbone, variant.preprocessing.output_shape)
        own[backbone.precision] = Pipeline(variant, runtime).features(x).codes
    np.savez(codes_file, **own)  # type: ignore[arg-type]
    return {
        "machine": platform.machine(),
        "tables": _digest(tables.gram, tables.class_sums),
        "head": _digest(head.kernel, head.bias),
    }


def _digest(*arrays: np.ndarray) -> str:
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()


if __name__ == "__main__":
    given = Path(sys.argv[2])
    print("TABLES " + json.dumps(made_here(Path(sys.argv[1]), given, given.with_name(CODES_FILE))), flush=True)
