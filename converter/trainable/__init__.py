"""The trainable .tflite: head and gradient in the graph, and its proof."""

from converter.trainable.trainable import TrainableReport, export_trainable, write_trainable

__all__ = [
    "TrainableReport",
    "export_trainable",
    "write_trainable",
]
