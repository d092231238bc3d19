"""What a device makes of a finished bundle: python -m benchmarks.bundle_check BUNDLE WINDOWS.npy OUT.npz.

Runs in an interpreter that has one or more runtimes and what a device installs, through the agent's own reader and
runtimes. For every backbone on every runtime here, and for the pairs the agent itself would choose, OUT holds
``NAME/embedding`` and ``NAME/outputs``, or ``NAME/error``; NAME is ``member@runtime``; ``agent``, the most exact pair
that passes the bundle's probe; or ``fastest``, what an agent takes that times them.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from edge_agent.runtime import ENGINES, open_runtime
from headway.arrays import AnyArray, Float32
from headway.bundle import Variant, read_variant
from headway.errors import HeadwayError
from headway.ports import SystemClock


def check(variant: Variant, windows: Float32) -> dict[str, AnyArray]:
    """Every pair's answers on raw windows, float32 (n, *input_shape)."""
    inputs, _ = variant.preprocessing.apply(windows)
    found: dict[str, AnyArray] = {}
    for backbone in variant.backbones:
        for engine in ENGINES[backbone.engine]:
            if engine.version() is None:
                continue
            name = f"{backbone.member}@{engine.distribution}"
            try:
                embedding = engine.open(engine.module, backbone, variant.preprocessing.output_shape).embed(inputs)
            except (RuntimeError, ValueError, SystemError, HeadwayError) as error:
                found[f"{name}/error"] = np.array(str(error)[:200])
                continue
            found |= _answers(name, variant, embedding)
    for name, clock in (("agent", None), ("fastest", SystemClock())):
        try:
            chosen = open_runtime(variant, clock)
        except HeadwayError as error:
            found[f"{name}/error"] = np.array(str(error))
            continue
        found |= _answers(name, variant, chosen.embed(inputs)) | {f"{name}/runtime": np.array(chosen.name)}
    return found


def _answers(name: str, variant: Variant, embedding: Float32) -> dict[str, AnyArray]:
    return {f"{name}/embedding": embedding, f"{name}/outputs": variant.head.probabilities(embedding)}


def main(bundle: str, windows: str, out: str) -> None:
    np.savez(out, **check(read_variant(Path(bundle)), np.load(windows)))  # type: ignore[arg-type]


if __name__ == "__main__":
    main(*sys.argv[1:])
