"""The options of a conversion, validated when built."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from headway.errors import ConfigError, LocalError
from headway.maths import (
    MEDIAN_WIDTH_MAX,
    PASSES,
    WINDOW_FEATURES,
    Denoise,
    FrontEnd,
    LogMel,
    Task,
    TimeAxis,
    WindowFeatures,
)
from headway.settings import (
    INTEGER_MAX,
    boolean,
    check,
    choice,
    entries,
    integer,
    lengths,
    number,
    optional_path,
    text,
    texts,
    written,
)

FORMATS = ("tflite", "onnx")
PRECISIONS = {"none": "float32", "float16": "float16", "dynamic": "dynamic", "int8": "int8"}
MISSING = ("mean", "median", "last", "linear")
FRONT_ENDS = ("none", "log-mel", "mfcc")
NONE, ALL = "none", "all"  # of the features by name
OF_SOUND = ("rate_hz", "frame", "hop", "fft", "bands", "low_hz", "high_hz", "coefficients")  # fields of a front end
SCALES = ("none", "standard", "robust", "min-max")
FEATURES_MAX = 65_536
CLASSES_MAX = 4096
# what is inferred from the model and the data
AUTO = "auto"
# values of --pca and --expand that are no counts
REDUCED = COMPARED = -1
BY_MODEL = -2
# texts that travel in the bundle and are shown to people
SHOWN = ("name", "version", "licence", "provenance")


@dataclass(frozen=True, slots=True)
class Options:
    """All choices of one conversion; the defaults give one TFLite float32 backbone. Raises ConfigError.

    Each is declared once: `headway.settings.entries(Options)` gives the option of ``edge-convert``, its default, its
    limits and its help.
    """

    name: str = text("", key="--id", doc="Name of the model (the file's when empty).")
    version: str = text("1.0.0", key="--model-version", length_max=64, doc="Version of the model, for people.")
    release: int = integer(
        1, key="--release", high=INTEGER_MAX - 1, doc="A number that grows with every release; devices never go back."
    )
    formats: tuple[str, ...] = texts(
        ("tflite",), key="--formats", choices=FORMATS, doc="Backbones to write; onnx is the default of an .onnx model."
    )
    quantize: tuple[str, ...] = texts(
        ("none",),
        key="--quantize",
        choices=PRECISIONS,
        doc="Precisions to write each backbone in, none being float32; those that fail the gate are left out, with the "
        "reason.",
    )
    classes: tuple[str, ...] = texts(
        (), key="--classes", count_max=CLASSES_MAX, doc="Names of the model's outputs, in their order."
    )
    label_columns: tuple[str, ...] = texts(
        (), key="--label", doc="Of a .csv: the columns of y (label, class, target, activity or y when empty)."
    )
    columns: tuple[str, ...] = texts(
        (), key="--columns", count_max=FEATURES_MAX, doc="Of a .csv: the columns of x (all others when empty)."
    )
    without_columns: tuple[str, ...] = texts(
        (), key="--without", count_max=FEATURES_MAX, doc="Of a .csv: columns that are neither x nor y."
    )
    text_column: str = text(
        "",
        key="--text",
        length_max=256,
        doc="Of a .csv: the column of short texts that x is made of, hashed into 1,024 values as "
        "headway.maths.hashed_text does; hash on the device likewise.",
    )
    window: int = integer(
        0,
        key="--window",
        high=INTEGER_MAX - 1,
        doc="Rows of a .csv or samples of a .wav in one window; 0: one row, the whole sound.",
    )
    stride: int = integer(
        0,
        key="--stride",
        high=INTEGER_MAX - 1,
        doc="Of a .csv: rows from the beginning of a window to that of the next; 0: the hop of --stream, or as many as "
        "--window, so that windows do not overlap.",
    )
    stream: Path | None = optional_path(
        key="--stream",
        doc="TOML file that says how windows are cut from raw rows (docs/bundle-format.md, Streams), to carry.",
        example="stream.toml",
    )
    skip_unlabelled: bool = boolean(
        False, key="--skip-unlabelled", doc="Of a .csv: leave out rows, or windows, that have no label."
    )
    image_size: tuple[int, ...] = lengths(key="--image-size", count=2, doc="Height and width to scale images to.")
    input_shape: tuple[int, ...] = lengths(
        key="--input-shape", doc="Shape of a window, without the batch, where the model leaves lengths free."
    )
    modules: tuple[str, ...] = texts(
        (),
        key="--import",
        length_max=4096,
        doc="Modules or .py files to import first, with layers of your own.",
    )
    allow_lambda: bool = boolean(
        False, key="--allow-lambda", doc="Open files with Lambda layers, whose code then runs on this machine."
    )
    task: str = choice(AUTO, (AUTO, *Task), key="--task", doc="What y means, where y and the head leave it open.")
    time_axis: str = choice(
        AUTO,
        (AUTO, *TimeAxis),
        key="--time-axis",
        doc="Where time lies in a window: its first axis, its last (channels first), or as the model's layers show.",
    )
    cut: str = text("", key="--cut", length_max=4096, doc="Layer that is the head (the last Dense when empty).")
    drop_points_max: float = number(
        0.5, key="--max-drop", low=0, high=100, unit="points", doc="Points of accuracy a quantised backbone may lose."
    )
    agreement_percent_min: float = number(
        95.0,
        key="--min-agreement",
        low=0,
        high=100,
        unit="percent",
        doc="Percent of a quantised backbone's answers that must be the model's own, right or wrong.",
    )
    difference_max: float = number(
        1e-5,
        key="--max-difference",
        low=1e-7,
        high=1e-3,
        doc="Largest difference of a float32 backbone from the model, in features (over their scale) and in outputs.",
    )
    allow_flex: bool = boolean(False, key="--allow-flex", doc="Let TFLite use TensorFlow operators.")
    missing: str = choice(
        "mean",
        MISSING,
        key="--missing",
        doc="What missing values become: the channel's mean, median or last value, or the line between neighbours.",
    )
    denoise: str = choice("none", tuple(Denoise), key="--denoise", doc="Smoothing of windows along time.")
    median_width: int = integer(
        3, key="--median-width", low=3, high=MEDIAN_WIDTH_MAX, doc="Time steps of the median filter, odd."
    )
    ewma_weight: float = number(0.5, key="--ewma-weight", low=0, high=1, doc="Weight of the newest value, above 0.")
    cutoff: float = number(
        0.0,
        key="--cutoff",
        low=0,
        high=0.499,
        doc="Of a low or high pass: where half the power is left, in cycles per time step (hertz / sampling rate).",
    )
    clip: float = number(
        0.0,
        key="--clip",
        low=0,
        high=25,
        unit="percent",
        doc="Clip outliers of each channel: so many percent of the training values at either end become its bound; 0: "
        "none.",
    )
    scale: str = choice(
        "none",
        SCALES,
        key="--scale",
        doc="Scaling per channel, if the model expects that: zero mean and unit deviation (standard), zero median and "
        "unit distance of the quartiles (robust), or 0 to 1 (min-max).",
    )
    standardise: bool = boolean(False, key="--standardise", doc="The same as --scale standard.")
    front_end: str = choice(
        "none",
        FRONT_ENDS,
        key="--front-end",
        doc="Turn sound into log-mel pictures or cepstral coefficients (mfcc), here and on the device.",
    )
    rate_hz: float = number(
        16_000.0, key="--rate", low=1, high=1e9, unit="Hz", doc="Of the front end: samples a second."
    )
    frame: int = integer(640, key="--frame", low=2, high=1 << 15, doc="Of the front end: samples in a frame.")
    hop: int = integer(320, key="--hop", low=1, high=1 << 15, doc="Of the front end: samples from frame to frame.")
    fft: int = integer(0, key="--fft", high=1 << 15, doc="Of the front end: length of the Fourier transform; 0: the "
                       "power of two that holds a frame.")  # fmt: skip
    bands: int = integer(40, key="--bands", low=1, high=256, doc="Of the front end: bands of the mel scale.")
    low_hz: float = number(20.0, key="--low-hz", low=0, high=1e9, unit="Hz", doc="Where the lowest band begins.")
    high_hz: float = number(
        7_600.0, key="--high-hz", low=0, high=1e9, unit="Hz", doc="Where the highest band ends, at most half of --rate."
    )
    coefficients: int = integer(13, key="--coefficients", low=1, high=256, doc="Of mfcc: how many are kept.")
    features: tuple[str, ...] = texts(
        (NONE,),
        key="--features",
        choices=(NONE, ALL, *WINDOW_FEATURES),
        doc="Features of each channel of a window along time that take the window's place, here and on the device.",
    )
    backbone: str = choice(
        "network",
        ("network", "none"),
        key="--backbone",
        doc='"none" writes a bundle without a network, from data alone; a device then needs no inference runtime.',
    )
    pca: int = integer(
        REDUCED,
        key="--pca",
        high=FEATURES_MAX,
        words={AUTO: REDUCED},
        doc="Principal components of the embedding to keep; 0: keep the embedding; auto (-1 in Python): of one with "
        "more than 400 features as many as answer the given data as well.",
    )
    select: int = integer(0, key="--select", high=FEATURES_MAX, doc="Best features to keep; 0: keep all.")
    select_by: str = choice(
        "f-score", ("f-score", "mutual-information"), key="--select-by", doc="What makes a feature a good one."
    )
    expand: int = integer(
        BY_MODEL,
        key="--expand",
        high=FEATURES_MAX,
        words={AUTO: COMPARED, "by-model": BY_MODEL},
        doc="Random ReLU features to add; auto (-1 in Python): chosen by time-ordered cross-validation; by-model (-2): "
        "auto where a model's input has one axis, as a row of sensor values has, else none.",
    )
    expand_input: bool = boolean(
        False, key="--expand-input", doc="Expand the preprocessed input instead of the embedding."
    )
    buffer_per_class: int = integer(
        40, key="--buffer", high=FEATURES_MAX, doc="Training rows per class to carry, as int8 features."
    )
    evaluation_rows: int = integer(
        64, key="--evaluation", high=FEATURES_MAX, doc="Training windows to carry for scoring heads."
    )
    seed: int = integer(0, key="--seed", doc="Seed of the expansion and of the draw of the buffer.")
    licence: str = text("", key="--licence", length_max=4096, doc="Licence note to carry.")
    provenance: str = text("", key="--provenance", length_max=4096, doc="Where model and data come from, to carry.")
    key: Path | None = optional_path(key="--key", doc="Private key to sign with.", example="signing.pem")
    html: Path | None = optional_path(
        key="--html", doc="Write the report as a page with pictures.", example="report.html"
    )
    tflite_python: Path | None = optional_path(
        key="--tflite-python",
        doc="Interpreter that has tflite-runtime (numpy<2), to prove backbones on it.",
        example="/opt/tflite/bin/python",
    )

    def __post_init__(self) -> None:
        check(self)
        for entry in entries(type(self)):
            if entry.name in SHOWN and not (value := getattr(self, entry.name)).isprintable():
                raise ConfigError(f"{entry.key} {value[:40]!r} holds characters that cannot be shown; leave them out")
        if self.standardise and self.scale not in ("none", "standard"):
            raise ConfigError(f"--standardise is --scale standard, and --scale is {self.scale}; give one")
        if (self.cutoff > 0) != (self.denoise in PASSES):
            raise ConfigError(
                f"--denoise {self.denoise} with --cutoff {self.cutoff:g}: a low or high pass needs a cutoff above 0, "
                "and nothing else takes one"
            )
        asked = ",".join(self.features)
        if len(self.features) > 1 and {NONE, ALL} & set(self.features):
            raise ConfigError(f"--features {asked}: give {NONE} or {ALL} alone, or names")
        if self.features != (NONE,) and (self.front_end != "none" or self.text_column):
            other = "--text" if self.text_column else f"--front-end {self.front_end}"
            raise ConfigError(f"--features {asked} with {other}: both make x; give one of them")
        if self.front_end == "none" and (of_sound := given(self, OF_SOUND)):
            raise ConfigError(f"{', '.join(of_sound)} belong to a front end; give --front-end log-mel or mfcc")
        front_end(self)
        if self.text_column and (self.columns or self.window or self.without_columns):
            raise ConfigError("--text makes x of one column; leave out --columns, --without and --window")
        if self.stride and not self.window:
            raise ConfigError(f"--stride {self.stride} without --window: there are no windows; give --window N, too")
        if self.pca > 0 and self.select:
            raise ConfigError("--pca and --select exclude each other; give one")


def front_end(options: Options) -> FrontEnd | None:
    """What was asked for. Raises ConfigError."""
    try:
        if options.features != (NONE,):
            return WindowFeatures() if ALL in options.features else WindowFeatures(options.features)
        if options.front_end == "none":
            return None
        _fits_rate(options)
        fft = options.fft or 1 << (options.frame - 1).bit_length()
        count = options.coefficients if options.front_end == "mfcc" else 0
        return LogMel(options.rate_hz, options.frame, options.hop, fft, options.bands, options.low_hz,
                      options.high_hz, count)  # fmt: skip
    except LocalError as error:
        raise ConfigError(
            f"--front-end {options.front_end}, --features {','.join(options.features)}: {error}"
        ) from error


def _fits_rate(options: Options) -> None:
    """Raises ConfigError that says which end of the bands to move."""
    highest = options.rate_hz / 2
    if options.high_hz > highest:
        raise ConfigError(
            f"--high-hz {options.high_hz:g}: at --rate {options.rate_hz:g} a sound holds nothing above {highest:g} Hz; "
            f"give --high-hz {highest:g} or less"
        )
    if options.low_hz >= options.high_hz:
        raise ConfigError(f"--low-hz {options.low_hz:g} is not below --high-hz {options.high_hz:g}; move one of them")


def given(options: Options, names: Collection[str]) -> list[str]:
    """Which of these fields were given, by the keys of the command line."""
    return [each.key for each in entries(Options) if each.name in names and getattr(options, each.name) != each.default]


def scaling(options: Options) -> str:
    """Of `SCALES`."""
    return "standard" if options.standardise else options.scale


def chosen(options: Options) -> tuple[str, ...]:
    """What differs from the default, as ``name value``."""
    given = ((entry, getattr(options, entry.name)) for entry in entries(Options))
    shown = (
        (entry, ",".join(map(str, value)) if isinstance(value, tuple) else written(entry.setting, value))
        for entry, value in given
    )
    default = {entry.name: entry.default for entry in entries(Options)}
    return tuple(f"{entry.name} {text}" for entry, text in shown if getattr(options, entry.name) != default[entry.name])
