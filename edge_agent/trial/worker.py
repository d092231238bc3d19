"""Answers what the backbone of a bundle makes of windows, one at a time, until the asking process is gone.

    python -m edge_agent.trial.worker DESCRIPTOR BUNDLE [PUBLIC_KEY]

The descriptor is one end of a socket pair. The bundle was tested before; here it is loaded once more and warmed up.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edge_agent.pipeline import Pipeline
from edge_agent.runtime import open_runtime
from edge_agent.trial.shadow import MESSAGE_BYTES_MAX, TrialFailed, finite, one_line, receive, send
from headway.arrays import Float32
from headway.bundle import read_public_key, read_variant
from headway.errors import DataError, HeadwayError
from headway.ports import Clock, SystemClock
from headway.tensors import decode_tensors, encode_tensors


def main(arguments: Sequence[str]) -> int:
    descriptor, bundle, *key = arguments
    connection = socket.socket(fileno=int(descriptor))
    try:
        public_key = read_public_key(Path(key[0])) if key else None
        variant = read_variant(Path(bundle), public_key=public_key)
        pipeline, clock = Pipeline(variant, open_runtime(variant)), SystemClock()
        for row in range(len(variant.probe_inputs)):
            pipeline.features(variant.probe_inputs[row : row + 1])
    except HeadwayError as error:
        send(connection, encode_tensors({}, {"problem": one_line(error)}))
        return 0
    send(connection, encode_tensors({}, {}))
    while (payload := receive(connection)) is not None:
        arrays, _ = decode_tensors(payload, "window", TrialFailed, MESSAGE_BYTES_MAX)
        send(connection, answer(pipeline, arrays["window"], clock))
    return 0


def answer(pipeline: Pipeline, window: Float32, clock: Clock) -> bytes:
    """What is sent for one window, float32 (1, *input_shape): its features, or why there are none."""
    began_s = clock.monotonic_s()
    try:
        features = finite(pipeline.features(np.ascontiguousarray(window)))
    except (DataError, TrialFailed, RuntimeError, ValueError) as error:
        return encode_tensors({}, {"problem": f"a window that is served now fails: {one_line(error)}"})
    took_ms = 1000 * (clock.monotonic_s() - began_s)
    return encode_tensors({"embedding": features.embedding, "codes": features.codes}, {"took_ms": took_ms})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
