"""From what devices learned to a better head: exact sums, federated averaging, publishing, priors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headway.later import loaded_later

if TYPE_CHECKING:
    from aggregator.heads.averaging import Contribution, average, merged
    from aggregator.heads.canaries import CANDIDATE, DOUBTED, GOOD
    from aggregator.heads.class_list import ClassList
    from aggregator.heads.evaluation import EvaluationSample, paired
    from aggregator.heads.fleet_model import FleetModel
    from aggregator.heads.fleet_sum import FleetSum
    from aggregator.heads.handed_over import say_what_to_hand_over
    from aggregator.heads.head_gate import GateState
    from aggregator.heads.head_news import heads_wait, news_in, take_out_at_once
    from aggregator.heads.influence import Influences, influences
    from aggregator.heads.kept_sums import counts_text, mark_of
    from aggregator.heads.other_heads import VERSION_FLOOR, OtherHeads
    from aggregator.heads.outliers import Outliers
    from aggregator.heads.portraits import joined_portrait
    from aggregator.heads.privacy_budget import heads_left, multiplier, spent_epsilon, spent_in
    from aggregator.heads.space import Space, check_epochs, check_same_space, checked
    from aggregator.heads.spaces import Bundles, Spaces
    from aggregator.heads.stored_reports import class_counts, stored_report
    from aggregator.heads.sum_check import check_sums
    from aggregator.heads.told_cautions import SET_BACK
    from aggregator.heads.weighing import weighed

__all__ = [
    "CANDIDATE",
    "DOUBTED",
    "GOOD",
    "SET_BACK",
    "VERSION_FLOOR",
    "Bundles",
    "ClassList",
    "Contribution",
    "EvaluationSample",
    "FleetModel",
    "FleetSum",
    "GateState",
    "Influences",
    "OtherHeads",
    "Outliers",
    "Space",
    "Spaces",
    "average",
    "check_epochs",
    "check_same_space",
    "check_sums",
    "checked",
    "class_counts",
    "counts_text",
    "heads_left",
    "heads_wait",
    "influences",
    "joined_portrait",
    "mark_of",
    "merged",
    "multiplier",
    "news_in",
    "paired",
    "say_what_to_hand_over",
    "spent_epsilon",
    "spent_in",
    "stored_report",
    "take_out_at_once",
    "weighed",
]
WHERE = {
    "averaging": "Contribution average merged",
    "canaries": "CANDIDATE DOUBTED GOOD",
    "class_list": "ClassList",
    "evaluation": "EvaluationSample paired",
    "fleet_model": "FleetModel",
    "fleet_sum": "FleetSum",
    "handed_over": "say_what_to_hand_over",
    "head_gate": "GateState",
    "head_news": "heads_wait news_in take_out_at_once",
    "influence": "Influences influences",
    "kept_sums": "counts_text mark_of",
    "other_heads": "VERSION_FLOOR OtherHeads",
    "outliers": "Outliers",
    "portraits": "joined_portrait",
    "privacy_budget": "heads_left multiplier spent_epsilon spent_in",
    "space": "Space check_epochs check_same_space checked",
    "spaces": "Bundles Spaces",
    "stored_reports": "class_counts stored_report",
    "sum_check": "check_sums",
    "told_cautions": "SET_BACK",
    "weighing": "weighed",
}
if not TYPE_CHECKING:
    __getattr__ = loaded_later(__name__, WHERE)
