"""Drift: detectors on the error of what was served, and a watch on unlabelled features."""

from edge_agent.learner.drift.errors import Drift, ErrorDrift
from edge_agent.learner.drift.features import FeatureShift, Shift

__all__ = [
    "Drift",
    "ErrorDrift",
    "FeatureShift",
    "Shift",
]
