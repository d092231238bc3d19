"""Exports backbones to .tflite and .onnx in worker processes, and preprocessing as part of the graph."""

from converter.export.export import Exporter, Job
from converter.export.export_queue import SUFFIX, ExportQueue
from converter.export.trainable_graph import write_plan
from converter.export.versions import at_least, flex_operators, oldest_runtimes, operators, tflite_minimum

__all__ = [
    "SUFFIX",
    "ExportQueue",
    "Exporter",
    "Job",
    "at_least",
    "flex_operators",
    "oldest_runtimes",
    "operators",
    "tflite_minimum",
    "write_plan",
]
