"""The learner: predict, score, learn, gate, serve. No clock, no disk, no network."""

from edge_agent.learner.compatibility import check_head
from edge_agent.learner.doubts import Doubt
from edge_agent.learner.gate import FROZEN, window_losses
from edge_agent.learner.learner import FLEET, STATE_BYTES_MAX, HeadLearner
from edge_agent.learner.operations import (
    COUNTED,
    AddClass,
    AddPseudoLabel,
    AdoptHead,
    AdoptPrior,
    AdoptWindowMeans,
    Applied,
    ChangeClasses,
    CorrectLabel,
    EndUpdate,
    LearnLabel,
    Operation,
    WithdrawPseudoLabel,
    apply,
)
from edge_agent.learner.outputs import said
from edge_agent.learner.serving import Prediction
from edge_agent.learner.trainer import PendingUpdate, Trainer

__all__ = [
    "COUNTED",
    "FLEET",
    "FROZEN",
    "STATE_BYTES_MAX",
    "AddClass",
    "AddPseudoLabel",
    "AdoptHead",
    "AdoptPrior",
    "AdoptWindowMeans",
    "Applied",
    "ChangeClasses",
    "CorrectLabel",
    "Doubt",
    "EndUpdate",
    "HeadLearner",
    "LearnLabel",
    "Operation",
    "PendingUpdate",
    "Prediction",
    "Trainer",
    "WithdrawPseudoLabel",
    "apply",
    "check_head",
    "said",
    "window_losses",
]
