"""The gradient learner: SGD on the head, with rehearsal."""

from edge_agent.learner.gradient.trainer import CANDIDATE, GradientTrainer

__all__ = [
    "CANDIDATE",
    "GradientTrainer",
]
