"""The device's program: runs the backbone, keeps the head learning, and never needs the network to do so.

`edge_agent.Learner` is the same learner for programs that embed it (edge_agent/embed.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_agent.embed import Learner, Prediction
    from edge_agent.learner_settings import LearnerSettings

__all__ = ["Learner", "LearnerSettings", "Prediction"]


def __getattr__(name: str) -> object:
    """Load the learner only when somebody asks for it."""
    if name in __all__:
        from edge_agent import embed

        return getattr(embed, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
