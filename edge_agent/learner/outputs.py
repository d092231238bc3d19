"""What a head says of windows, in the order of the classes that a device knows."""

from __future__ import annotations

import numpy as np

from edge_agent.learner.class_names import ClassNames
from edge_agent.pipeline import Features
from headway.arrays import Float32
from headway.maths import Head, HeadInput


def said(head: Head, features: Features, names: ClassNames) -> Float32:
    """Probabilities by name, float32 (n, C), or values; removed classes get none. features: n windows."""
    values = features.embedding if head.input is HeadInput.EMBEDDING else features.codes.astype(np.float32)
    return names.spread(head.probabilities(values), head.classes)
