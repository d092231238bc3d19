"""Keras model -> on-device variant: a frozen backbone, a trainable head, and proof that they match the source."""

from converter.convert import Options, convert
from converter.report import Report

__all__ = ["Options", "Report", "convert"]
