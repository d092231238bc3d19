"""The trainable .tflite: head and gradient in the graph, and its proof."""

from converter.trainable.trainable import export_trainable, write_trainable

__all__ = [
    "export_trainable",
    "write_trainable",
]
