"""Rollouts: a new bundle reaches the fleet in stages, each judged by what it does on the devices' own labels."""

from aggregator.rollouts.beginning import StageForecast, ask, begin, forecast
from aggregator.rollouts.evidence import StageEvidence, stage_evidence
from aggregator.rollouts.plan import Plan, default_plan, plan_of, read_plan, stored_plan
from aggregator.rollouts.rollouts import NOBODY, Rollouts
from aggregator.rollouts.states import OPEN, TAKES, Act, Phase, State
from aggregator.rollouts.verdict import Comparison, Criteria, Outcome, Verdict, compared, judged

__all__ = [
    "NOBODY",
    "OPEN",
    "TAKES",
    "Act",
    "Comparison",
    "Criteria",
    "Outcome",
    "Phase",
    "Plan",
    "Rollouts",
    "StageEvidence",
    "StageForecast",
    "State",
    "Verdict",
    "ask",
    "begin",
    "compared",
    "default_plan",
    "forecast",
    "judged",
    "plan_of",
    "read_plan",
    "stage_evidence",
    "stored_plan",
]
