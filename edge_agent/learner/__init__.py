"""The learner: predict, score, learn, gate, serve. No clock, no disk, no network."""

from edge_agent.learner.learner import STATE_BYTES_MAX, Learner, Prediction

__all__ = [
    "STATE_BYTES_MAX",
    "Learner",
    "Prediction",
]
