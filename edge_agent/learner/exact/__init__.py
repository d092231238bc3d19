"""The exact learner: integer statistics in, one closed-form head out."""

from edge_agent.learner.exact.buckets import Buckets
from edge_agent.learner.exact.experts import Weights
from edge_agent.learner.exact.saved import packed, unpacked
from edge_agent.learner.exact.settings import ExactSettings, Recipe
from edge_agent.learner.exact.trainer import ExactTrainer

__all__ = [
    "Buckets",
    "ExactSettings",
    "ExactTrainer",
    "Recipe",
    "Weights",
    "packed",
    "unpacked",
]
