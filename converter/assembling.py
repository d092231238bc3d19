"""Puts a bundle together of what a conversion has found."""

from __future__ import annotations

from typing import Any

from converter.features import PROBES, Fitted, TrainingData, evaluation_slice, raw_windows, spread_rows
from converter.options import Options
from converter.report import Report
from headway.arrays import Float32
from headway.bundle import Variant
from headway.maths import Head, Preprocessing
from headway.stream import StreamFormat


def assembled(
    options: Options,
    data: TrainingData,
    head: Head,
    preprocessing: Preprocessing,
    fitted: Fitted,
    embedding: Float32,
    report: Report,
    stream: StreamFormat | None,
    **more: Any,
) -> Variant:
    """embedding: float32 (n, e), of all rows of the data. more: `name`, and `backbones` or `without_backbone`."""
    probes = spread_rows(data, PROBES)
    return Variant(
        version=options.version,
        release=options.release,
        head=head,
        features=fitted.features,
        preprocessing=preprocessing,
        training_statistics=fitted.statistics,
        targets=fitted.targets,
        probe_inputs=raw_windows(data.x[probes], preprocessing),
        probe_embedding=embedding[probes],
        report=report.figures(),
        buffer=fitted.buffer,
        evaluation=evaluation_slice(data, preprocessing, options),
        licence=options.licence,
        provenance=options.provenance,
        stream=stream,
        **more,
    )
