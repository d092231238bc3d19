"""Trained model -> on-device variant: a frozen backbone, a trainable head, and proof that they match the source."""

from converter.convert import convert
from converter.options import Options
from converter.report import Report
from converter.training_data import TrainingData, training_data

__all__ = ["Options", "Report", "TrainingData", "convert", "training_data"]
