"""A new bundle on trial beside the one that serves: both are judged on the device's own labels. No network."""

from edge_agent.trial.head_trial import HeadTrial
from edge_agent.trial.reports import Reports
from edge_agent.trial.shadow import InProcess, Shadow, Shadowed, Subprocess, TrialFailed
from edge_agent.trial.trial import Trial
from edge_agent.trial.trials import Trials

__all__ = ["HeadTrial", "InProcess", "Reports", "Shadow", "Shadowed", "Subprocess", "Trial", "TrialFailed", "Trials"]
