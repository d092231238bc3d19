"""The gate: which head may serve, judged by labels it was not trained on."""

from edge_agent.learner.gate.gate import FROZEN, ROWS, SCORED_MIN, Decision, Gate
from edge_agent.learner.gate.scoring import (
    ERROR_UNITS_MAX,
    ClassScorer,
    Scorer,
    added,
    build_scorer,
    label_losses,
    window_losses,
)

__all__ = [
    "ERROR_UNITS_MAX",
    "FROZEN",
    "ROWS",
    "SCORED_MIN",
    "ClassScorer",
    "Decision",
    "Gate",
    "Scorer",
    "added",
    "build_scorer",
    "label_losses",
    "window_losses",
]
