"""Converts a trained model into a bundle: a frozen backbone, a trainable head, and proof that both match the model."""

from converter.convert import convert
from converter.features import TrainingData, training_data
from converter.options import Options
from converter.report import Report
from converter.without_backbone import convert_data

__all__ = ["Options", "Report", "TrainingData", "convert", "convert_data", "training_data"]
