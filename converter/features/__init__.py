"""Fits the feature map on the training data: scaling, selection, random expansion."""

from converter.features.data import (
    Data,
    TrainingData,
    as_training_data,
    read_training_data,
    reading,
    table_of,
    training_data,
)
from converter.features.fit import (
    PROBES,
    Fitted,
    evaluation_slice,
    fit_features,
    fit_preprocessing,
    fits_embedding,
    raw_windows,
    spread_rows,
    target_codes,
)
from converter.features.meaning import settled, settled_alone
from converter.features.readers import Reading

__all__ = [
    "PROBES",
    "Data",
    "Fitted",
    "Reading",
    "TrainingData",
    "as_training_data",
    "evaluation_slice",
    "fit_features",
    "fit_preprocessing",
    "fits_embedding",
    "raw_windows",
    "read_training_data",
    "reading",
    "settled",
    "settled_alone",
    "spread_rows",
    "table_of",
    "target_codes",
    "training_data",
]
