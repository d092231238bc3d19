"""Runs the learner over a recorded stream, without network or disk: try it before deploying it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from edge_agent.agent import Agent
from edge_agent.answer_draft import write_answer
from edge_agent.commands.phases import live
from edge_agent.commands.recording import process, recorded_features
from edge_agent.config import SyncSettings
from edge_agent.labels import RememberedWindows
from edge_agent.learner import HeadLearner
from edge_agent.learner_settings import LearnerSettings
from edge_agent.pipeline import Pipeline
from edge_agent.runtime import open_runtime
from edge_agent.sync import SyncState
from headway.bundle import read_variant
from headway.durable import write_durably
from headway.errors import DataError
from headway.maths import Task
from headway.samples import read_samples


def replay_recording(
    bundle: Path, stream: Path, out: Path, settings: LearnerSettings, phases: int = 0
) -> dict[str, object]:
    """Drive the agent over `stream` and write its predictions to `out`; returns the metrics.

    stream: ``.npz`` with x (n, *input_shape) and y, in time order: (n,), -1 for a row that never gets a label; or,
    for several labels or values per window, (n, C), NaN for what never gets known; id (n,) where self-training is on.
    Policies do not count: each label is learned when it comes.
    out: ``.npz`` with prediction (n,), or (n, C) likewise, probability (n, C), source (n,).
    phases: 2 or more, of a classifier: also what was forgotten (edge_agent/commands/phases.py), in `out` as
    phase_accuracy (phases, phases); every fifth label is then not learned. Raises DataError.
    """
    variant = read_variant(bundle)
    samples = read_samples(stream, variant.classes, task=variant.task)
    if not samples.has_windows or samples.y is None:
        raise DataError(f"{stream} needs x and y with at least one row (y is -1, or NaN, where there is no label)")
    if phases and (variant.task is not Task.CLASSIFICATION or phases < 2):
        raise DataError(f"phases are for classifiers and 2 or more, not {phases} of a {variant.task} model")
    pipeline = Pipeline(variant, open_runtime(variant))
    windows = RememberedWindows(settings.horizon_rows)
    agent = Agent("replay", HeadLearner(variant, settings), SyncSettings(), SyncState(epoch=0), windows=windows)
    features = recorded_features(samples, pipeline)
    lived = live(agent, features, samples.y, samples.ids, phases) if phases else None
    answer = process(agent, features, samples.y, samples.ids) if lived is None else lived.answer
    more = {} if lived is None else {"phase_accuracy": lived.accuracy}
    write_durably(out, lambda stream: write_answer(stream, lambda: (answer,), more))
    learner, events = agent.learner, Counter(event.name for event in agent.take_events(0.0))
    return {
        "task": str(learner.task),
        "rows": len(samples),
        "labels": learner.labels,
        "served": learner.served_sums.summary(),
        "frozen": learner.frozen_sums.summary(),
        "recent": learner.recent_sums.summary(),
        "by_class": learner.served_sums.by_class(learner.classes),
        "serving": learner.serving,
        "persistence": agent.persistence.serving,
        "served_by": {str(n): int(c) for n, c in zip(*np.unique(answer.served_by, return_counts=True), strict=True)},
        "clipped_share": features.clipped / features.codes.size,
        "missing_values": features.missing,
        "refused_steps": learner.refused_steps,
        "events": dict(events),
        "runtime": pipeline.runtime_name,
        **({} if lived is None else {"phases": lived.summary()}),
    }
