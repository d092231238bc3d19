"""Runs the learner over a recorded stream, without network or disk: try it before deploying it."""

from __future__ import annotations

import contextlib
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edge_agent.agent import Agent
from edge_agent.answer_draft import write_answer
from edge_agent.commands.phases import live
from edge_agent.commands.recording import process, recorded_features
from edge_agent.commands.replay_findings import leaking_columns, naive_rules
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
from headway.maths import Task, link, predicted
from headway.npz import SingleArray, open_file
from headway.samples import ANY_BYTES, Samples, labels_of, read_arrays, read_samples, targets_of
from headway.tables import Columns, read_table
from headway.wire import Event


@dataclass(frozen=True, slots=True)
class Extras:
    """labels: file of y, .npy, where the stream is the .npy of x. columns: of a .csv. report: where a page goes; peer:
    .npz of another program, whose ``prediction`` (n,) or (n, C) is shown beside.
    """

    labels: Path | None = None
    columns: Columns | None = None
    report: Path | None = None
    peer: Path | None = None


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
    samples = _samples(stream, extras, variant)
    if not samples.has_windows or samples.y is None:
        raise DataError(f"{stream} needs x and y with at least one row (y is -1, or NaN, where there is no label)")
    if phases and (variant.task is not Task.CLASSIFICATION or phases < 2):
        raise DataError(f"phases are for classifiers and 2 or more, not {phases} of a {variant.task} model")
    pipeline = Pipeline(variant, open_runtime(variant))
    windows = RememberedWindows(settings.horizon_rows)
    agent = Agent("replay", HeadLearner(variant, settings), SyncSettings(), SyncState(epoch=0), windows=windows)
    features = recorded_features(samples, pipeline)
    lived = live(agent, features, samples.y, samples.ids, phases) if phases else None
    happened: list[tuple[int, Event]] = []
    answer = (
        process(
            agent,
            features,
            samples.y,
            samples.ids,
            lambda stop: happened.extend((stop, event) for event in agent.take_events(0.0)),
        )
        if lived is None
        else lived.answer
    )
    happened.extend((len(samples), event) for event in agent.take_events(0.0))
    more = {} if lived is None else {"phase_accuracy": lived.accuracy}
    if out is not None:
        write_durably(out, lambda stream: write_answer(stream, lambda: (answer,), more))
    if extras.report is not None:
        drift = tuple(row for row, event in happened if event.name == DRIFT)
        page = _page(variant, samples, settings, pipeline, features, answer, drift, extras, agent.learner)
        write_durably(extras.report, page.encode())
    learner, events = agent.learner, Counter(event.name for _, event in happened)
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


def _samples(stream: Path, extras: Extras, variant: Variant) -> Samples:
    """Of an .npz, of a .csv, or of x and y in an .npy each. Raises DataError."""
    labels = extras.labels
    if stream.suffix == ".csv":
        return _of_table(stream, extras.columns, variant)
    if stream.suffix != ".npy":
        if labels is not None:
            raise DataError(f"--labels {labels} goes with windows in an .npy; {stream} brings its own y")
        return read_samples(stream, variant.classes, task=variant.task)
    if labels is None:
        raise DataError(f"{stream} holds windows without labels; give those of its rows: --labels FILE.npy")
    x = _array(stream)
    if x.ndim < 2 or x.dtype.kind not in "fiub" or not len(x):
        raise DataError(f"{stream} is {describe(x)}; it must be numbers of shape (n, ...)")
    return _labelled(x, _array(labels), variant)


def _of_table(stream: Path, columns: Columns | None, variant: Variant) -> Samples:
    """Rows, or windows of as many rows as the bundle takes."""
    shape = variant.input_shape
    x, y = read_table(stream, replace(columns or Columns(), window=shape[0] if len(shape) > 1 else 0))
    if x.shape[1:] != shape:
        raise DataError(f"{stream} gives {describe(x)}, the bundle takes (n, {', '.join(map(str, shape))}); name the "
                        "columns of x: --columns A,B")  # fmt: skip
    return _labelled(x, y, variant)


def _labelled(x: AnyArray, y: AnyArray, variant: Variant) -> Samples:
    if variant.task is Task.CLASSIFICATION:
        return Samples(x, labels_of(y, len(x), variant.classes))
    return Samples(x, targets_of(y, len(x), len(variant.classes), variant.task))


def _array(path: Path) -> AnyArray:
    """All of an .npy."""
    with contextlib.closing(SingleArray(open_file(path), str(path))) as opened:
        return opened.array("x")


def _page(
    variant: Variant,
    samples: Samples,
    settings: LearnerSettings,
    pipeline: Pipeline,
    features: Features,
    answer: Answer,
    drift: tuple[int, ...],
    extras: Extras,
    learner: HeadLearner,
) -> str:
    """The page; replays once more without each column."""
    y, task = samples.y, variant.task
    assert y is not None  # a replay has labels
    frozen = predicted(link(variant.head.logits(features.embedding), variant.head.kind), task)
    answers = {"served": answer.prediction, "frozen": frozen, **naive_rules(y, task)}
    if extras.peer is not None:
        answers |= {"peer": _peer(extras.peer, answer.prediction)}

    def replayed(x: AnyArray, labels: AnyArray) -> AnyArray:
        agent = Agent("replay", HeadLearner(variant, settings), SyncSettings(), SyncState(epoch=0))
        return process(agent, recorded_features(Samples(x, labels), pipeline), labels, None).prediction

    held = None if samples.x is None else np.asarray(samples.x[0 : len(samples)])
    columns = None if held is None else leaking_columns(held, y, task, variant.preprocessing.time_axis, replayed)
    by_class = learner.served_sums.by_class(learner.classes)
    title = f"{variant.name} {variant.version}, replayed"
    return replay_page(Replayed(title, task, learner.classes, y, answers, answer.probability, answer.served_by, drift,
                                columns, by_class))  # fmt: skip


def _peer(path: Path, like: AnyArray) -> AnyArray:
    found = read_arrays(path, ANY_BYTES).get("prediction")
    if found is None or found.shape != like.shape or found.dtype.kind not in "fiub":
        given = "none" if found is None else describe(found)
        raise DataError(f"prediction of {path} is {given}; it must be numbers of shape {like.shape}")
    return found
