"""How every conversion begins and ends: what can be refused before any work, and the bundle of what it has found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from converter.features import PROBES, Data, Fitted, TrainingData, evaluation_slice, raw_windows, spread_rows
from converter.keys import read_signer
from converter.options import Options
from converter.overwriting import check_targets, read_by
from converter.recipe import read_stream
from converter.report import Report
from headway.arrays import Float32
from headway.bundle import Variant
from headway.errors import ConfigError
from headway.maths import Head, Preprocessing
from headway.stream import StreamFormat


def begun(
    model: Any, data: Data, options: Options, out: Path
) -> tuple[Callable[[bytes], bytes] | None, StreamFormat | None]:
    """What signs, and how windows are cut, each where it was asked for. Raises what shows before the work."""
    check_targets({"--out": ("bundle", out), "--html": ("report", options.html)}, read_by(model, data, options))
    if options.stride and isinstance(data, (str, Path)) and Path(data).is_dir():
        raise ConfigError(f"--stride is of tables; {data} is a folder, of which each file makes one window")
    if options.html is not None:
        import jinja2  # noqa: F401 - where it is not installed, that shows before the work, not after it
    sign = None if options.key is None else read_signer(options.key)
    stream = None if options.stream is None else read_stream(options.stream)
    if stream is not None and options.front_end != "none" and stream.rate_hz != options.rate_hz:
        raise ConfigError(
            f"{options.stream} has {stream.rate_hz:g} rows a second, the front end {options.rate_hz:g}; "
            f"give --rate {stream.rate_hz:g}, or correct rate_hz there"
        )
    if stream is not None and options.window:
        for key, asked, cut in (("window", options.window, stream.length), ("stride", options.stride, stream.hop)):
            if asked and asked != cut:
                raise ConfigError(
                    f"--{key} {asked}, and {options.stream} cuts windows with {cut}; give the same, so that the device "
                    "sees windows as training did"
                )
    return sign, stream


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


def finished(variant: Variant, report: Report, options: Options, sign: Callable[[bytes], bytes] | None) -> Report:
    """Write the bundle, and the page where one was asked for; the report with the size of the bundle."""
    variant.write(report.bundle, sign)
    report = replace(report, bundle_bytes=report.bundle.stat().st_size)
    if options.html is not None:
        from converter.report import write_html

        write_html(report, options.html)
    return report
