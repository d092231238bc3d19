"""Builds and proves the trainable .tflite, which holds head and gradient in its graph."""

from converter.trainable.trainable import TrainableReport, export_trainable, write_trainable

__all__ = [
    "TrainableReport",
    "export_trainable",
    "write_trainable",
]
