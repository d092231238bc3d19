"""The gate: which head may serve, judged by labels it was not trained on."""

from edge_agent.learner.gate.gate import FROZEN, ROWS, Decision, Gate
from edge_agent.learner.gate.scoring import ClassScorer, Scorer, added, build_scorer

__all__ = [
    "FROZEN",
    "ROWS",
    "ClassScorer",
    "Decision",
    "Gate",
    "Scorer",
    "added",
    "build_scorer",
]
