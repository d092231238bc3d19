"""Runs the learner over a recorded stream, without network or disk: try it before deploying it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_agent.agent import Agent
from edge_agent.answer_draft import write_answer
from edge_agent.commands.phases import live
from edge_agent.commands.recording import Recording, process, read_recording, recorded_features
from edge_agent.commands.replay_findings import LEAK_ROWS_MAX, leaking_columns, naive_rules
from edge_agent.commands.replay_findings import Columns as TriedColumns
from edge_agent.commands.replay_page import Replayed, replay_page
from edge_agent.config import SyncSettings
from edge_agent.effects import Answer
from edge_agent.labels import DRIFT, RememberedWindows
from edge_agent.learner import HeadLearner
from edge_agent.learner_settings import LearnerSettings
from edge_agent.pipeline import Features, Pipeline
from edge_agent.runtime import open_runtime
from edge_agent.sync import SyncState
from headway.arrays import AnyArray, describe
from headway.bundle import Variant, read_variant
from headway.durable import write_durably
from headway.errors import DataError
from headway.maths import SUMS, Task, link, predicted
from headway.samples import ANY_BYTES, Samples, is_labelled, read_arrays
from headway.tables import Columns
from headway.wire import Event


@dataclass(frozen=True, slots=True)
class Extras:
    """labels: file of y, .npy, where the stream is the .npy of x. columns: of a .csv. report: where a page goes; peer:
    .npz of another program, whose ``prediction`` (n,) or (n, C) is shown beside. progress: told what takes its time.
    """

    labels: Path | None = None
    columns: Columns | None = None
    report: Path | None = None
    peer: Path | None = None
    progress: Callable[[str], None] = lambda step: None


def replay_recording(
    bundle: Path,
    stream: Path,
    out: Path | None,
    settings: LearnerSettings,
    phases: int = 0,
    extras: Extras | None = None,
) -> dict[str, object]:
    """Drive the agent over `stream` and write its predictions to `out`, where given; returns the metrics.

    stream: ``.npz`` with x (n, *input_shape) and y, in time order: (n,), -1 for a row that never gets a label; or,
    for several labels or values per window, (n, C), NaN for what never gets known; id (n,) where self-training is on.
    Or ``.npy`` or ``.csv``, see `Extras`.
    Policies do not count: each label is learned when it comes.
    out: ``.npz`` with prediction (n,), or (n, C) likewise, probability (n, C), source (n,).
    phases: 2 or more, of a classifier: also what was forgotten (edge_agent/commands/phases.py), in `out` as
    phase_accuracy (phases, phases); every fifth label is then not learned. Raises DataError.
    """
    extras = extras or Extras()
    variant = read_variant(bundle)
    recording = read_recording(stream, extras.labels, extras.columns, variant, new_classes=settings.new_classes)
    samples = recording.samples
    if not samples.has_windows or samples.y is None:
        raise DataError(f"{stream} needs x and y with at least one row (y is -1, or NaN, where there is no label)")
    if phases and (variant.task is not Task.CLASSIFICATION or phases < 2):
        raise DataError(f"phases are for classifiers and 2 or more, not {phases} of a {variant.task} model")
    pipeline = Pipeline(variant, open_runtime(variant))
    windows = RememberedWindows(settings.horizon_rows)
    agent = Agent("replay", HeadLearner(variant, settings), SyncSettings(), SyncState(epoch=0), windows=windows)
    features = recorded_features(samples, pipeline)
    lived = live(agent, features, samples.y, samples.ids, phases, samples.names) if phases else None
    happened: list[tuple[int, Event]] = []
    answer = (
        process(
            agent,
            features,
            samples.y,
            samples.ids,
            lambda stop: happened.extend((stop, event) for event in agent.take_events(0.0)),
            samples.names,
        )
        if lived is None
        else lived.answer
    )
    happened.extend((len(samples), event) for event in agent.take_events(0.0))
    more = {} if lived is None else {"phase_accuracy": lived.accuracy}
    if out is not None:
        write_durably(out, lambda stream: write_answer(stream, lambda: (answer,), more))
    learner, events = agent.learner, Counter(event.name for _, event in happened)
    known = is_labelled(samples.y)
    answered = SUMS[variant.task].of(answer.probability[known], samples.y[known])
    if extras.report is not None:
        drift = tuple(row for row, event in happened if event.name == DRIFT)
        by_class = answered.by_class(learner.classes)
        page = _page(variant, recording, settings, pipeline, features, answer, drift, extras, by_class)
        write_durably(extras.report, page.encode())
    return {
        "task": str(learner.task),
        "rows": len(samples),
        "labels": learner.labels,
        "answered": answered.summary(),
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


def _page(
    variant: Variant,
    recording: Recording,
    settings: LearnerSettings,
    pipeline: Pipeline,
    features: Features,
    answer: Answer,
    drift: tuple[int, ...],
    extras: Extras,
    by_class: Mapping[str, Mapping[str, object]],
) -> str:
    """The page; replays once more without each column."""
    samples = recording.samples
    y, task = samples.y, variant.task
    assert y is not None  # a replay has labels
    frozen = predicted(link(variant.head.logits(features.embedding), variant.head.kind), task)
    answers = {"served": answer.prediction, "frozen": frozen, **naive_rules(y, task)}
    if extras.peer is not None:
        answers |= {"peer": _peer(extras.peer, answer.prediction)}

    def replayed(x: AnyArray, labels: AnyArray) -> AnyArray:
        agent = Agent("replay", HeadLearner(variant, settings), SyncSettings(), SyncState(epoch=0))
        rows = recorded_features(Samples(x, labels), pipeline)
        return process(agent, rows, labels, None, names=samples.names).prediction

    assert samples.x is not None  # nor one without windows
    if recording.of_texts:
        columns = TriedColumns(why_not="not tried: x is hashed texts.")
    else:
        held = np.asarray(samples.x[0 : len(samples)])
        extras.progress(f"replaying the newest {min(len(held), LEAK_ROWS_MAX)} rows without each column, for the page")
        columns = leaking_columns(held, y, task, variant.preprocessing.time_axis, replayed)
    classes = tuple(by_class)
    title = f"{variant.name} {variant.version}, replayed"
    return replay_page(Replayed(title, task, classes, y, answers, answer.probability, answer.served_by, drift,
                                columns, by_class, recording.columns))  # fmt: skip


def _peer(path: Path, like: AnyArray) -> AnyArray:
    found = read_arrays(path, ANY_BYTES).get("prediction")
    if found is None or found.shape != like.shape or found.dtype.kind not in "fiub":
        given = "none" if found is None else describe(found)
        raise DataError(f"prediction of {path} is {given}; it must be numbers of shape {like.shape}")
    return found
