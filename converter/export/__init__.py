"""The process of the frameworks: models opened there, backbones exported there, preprocessing as part of a graph."""

from converter.export.export import Exporter, Job
from converter.export.export_queue import SUFFIX, ExportQueue
from converter.export.remote_source import open_remotely
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
    "open_remotely",
    "operators",
    "tflite_minimum",
    "write_plan",
]
