"""The exact learner: integer statistics in, one closed-form head out."""

from edge_agent.learner.exact.trainer import FEW_LABELS, ExactTrainer

__all__ = [
    "FEW_LABELS",
    "ExactTrainer",
]
