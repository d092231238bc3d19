"""The exact learner of regressions and of several labels per window."""

from edge_agent.learner.targets.trainer import TargetTrainer

__all__ = ["TargetTrainer"]
