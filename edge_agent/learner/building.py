"""Builds the trainer that a bundle and its settings ask for, and knows what its statistics hold of a window."""

from __future__ import annotations

from edge_agent.learner.exact import ExactSettings, ExactTrainer
from edge_agent.learner.gradient import GradientTrainer
from edge_agent.learner.targets import TargetTrainer
from edge_agent.learner.trainer import Trainer
from edge_agent.learner_settings import LearnerSettings
from headway.arrays import Int8
from headway.bundle import Variant
from headway.maths import Task
from headway.samples import UNLABELLED, Label, class_index, no_label


def build_trainer(variant: Variant, settings: LearnerSettings, kind: str, exact: ExactSettings | None) -> Trainer:
    """kind: what `learner_kind` says. exact: numbers of the exact learner, None for its own."""
    if kind != "exact":
        return GradientTrainer(variant, settings)
    if variant.task is Task.CLASSIFICATION:
        numbers = exact or ExactSettings(conditions=settings.conditions)
        return ExactTrainer(variant.training_statistics, numbers)
    return TargetTrainer(variant, exact)


def statistics_row(variant: Variant, codes: Int8, label: Label) -> tuple[Int8, int]:
    """What statistics hold of a labelled window: its row, int8 (1, D - 1), and its class there, or UNLABELLED.

    codes: int8 (1, d).
    """
    if variant.targets is None or isinstance(label, int):
        return codes, class_index(label)
    return variant.targets.rows(codes, label[None]), UNLABELLED if no_label(label) else 0
