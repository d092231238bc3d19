"""Puts together what a device says of itself: what it runs, and how it is."""

from __future__ import annotations

import platform

import headway
from edge_agent.agent import Agent
from edge_agent.learner import HeadLearner
from headway.wire import Reported


def reported(learner: HeadLearner, runtime: str, problem: str, delivery: str) -> Reported:
    """runtime: what runs the backbone; problem: what is wrong, or empty; delivery: where a bundle on its way stands."""
    variant = learner.variant
    return Reported(
        bundle=variant.name,
        bundle_version=variant.version,
        space=variant.space,
        learner=learner.kind,
        runtime=runtime,
        agent_version=headway.__version__,
        machine=f"{platform.machine()} python {platform.python_version()}",
        labels=learner.labels,
        source=learner.serving,
        problem=problem[:500],
        release=variant.release,
        delivery=delivery[:500],
    )


def condition_line(agent: Agent, disk: str, waiting: str) -> str:
    """How a device is, for people. disk: why it takes no commits, empty when it does; waiting: which labels wait."""
    if disk:
        return f"degraded: {disk}"
    lasting = f", {agent.persistence.name}" if agent.persistence.serving else ""
    serving = f"good: {agent.learner.serving} serves{lasting}"
    return ", ".join([serving, *filter(None, [waiting, agent.refusal.words])])
