"""The TFLite conversions a bundle contains and nothing else: bare_conversions MODEL ROWS FOLDER [PRECISION ...].

Loads TensorFlow and the .keras model, cuts it before its last Dense, and converts that backbone to float32, float16,
dynamic range and int8 with the plain converter, one file each: the least that anybody has to do for those four files.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from benchmarks.peer_exports import PRECISIONS, plain


def main(model: str, rows: str, folder: str, *precisions: str) -> None:
    import keras

    loaded = keras.models.load_model(model, compile=False)
    head = next(layer for layer in reversed(loaded.layers) if type(layer).__name__ == "Dense")
    backbone = keras.Model(loaded.inputs, head.input)
    representative = np.load(rows)
    for precision in precisions or PRECISIONS:
        (Path(folder) / f"{precision}.tflite").write_bytes(plain(backbone, precision, representative))


if __name__ == "__main__":
    main(*sys.argv[1:])
