"""Puts together what a device reports of itself: what it runs, and how it is."""

from __future__ import annotations

import platform

import headway
from edge_agent.learner import HeadLearner
from edge_agent.pipeline import Pipeline
from headway.bundle import Variant
from headway.wire import Reported

PROBLEM_CHARACTERS_MAX = 500


def reported(variant: Variant, pipeline: Pipeline, learner: HeadLearner, problem: str, delivery: str) -> Reported:
    """problem: what is wrong, empty when nothing is; delivery: how far a new bundle is."""
    return Reported(
        bundle=variant.name,
        bundle_version=variant.version,
        space=variant.space,
        learner=learner.kind,
        runtime=pipeline.runtime_name,
        agent_version=headway.__version__,
        machine=f"{platform.machine()} python {platform.python_version()}",
        labels=learner.labels,
        source=learner.serving,
        problem=problem[:PROBLEM_CHARACTERS_MAX],
        release=variant.release,
        delivery=delivery[:PROBLEM_CHARACTERS_MAX],
    )
