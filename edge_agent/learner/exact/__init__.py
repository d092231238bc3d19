"""The exact learner: integer statistics in, one closed-form head out."""

from edge_agent.learner.exact.buckets import Buckets
from edge_agent.learner.exact.experts import Weights
from edge_agent.learner.exact.moment import Moment
from edge_agent.learner.exact.saved import packed, unpacked
from edge_agent.learner.exact.settings import ExactSettings, Recipe
from edge_agent.learner.exact.trainer import CANDIDATE, ExactTrainer

__all__ = [
    "CANDIDATE",
    "Buckets",
    "ExactSettings",
    "ExactTrainer",
    "Moment",
    "Recipe",
    "Weights",
    "packed",
    "unpacked",
]
