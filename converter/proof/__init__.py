"""Proves that exported models match their source, on every runtime installed."""

from converter.proof.backbones import PROOF_ROWS_MAX, Written, begin_first, write_backbones
from converter.proof.parity_gate import ROUNDING_MAX, Proof, Reference, both_classes, close_to_exact, mixed_windows
from converter.proof.runtimes import TFLITE_PYTHON, Runtime, installed_runtimes
from converter.proof.scoring import confusion, score
from converter.proof.unusual import Unusual, ask_source

__all__ = [
    "PROOF_ROWS_MAX",
    "ROUNDING_MAX",
    "TFLITE_PYTHON",
    "Proof",
    "Reference",
    "Runtime",
    "Unusual",
    "Written",
    "ask_source",
    "begin_first",
    "both_classes",
    "close_to_exact",
    "confusion",
    "installed_runtimes",
    "mixed_windows",
    "score",
    "write_backbones",
]
