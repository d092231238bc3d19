"""The options of a conversion, validated when built."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from headway.errors import ConfigError
from headway.maths import MEDIAN_WIDTH_MAX, Denoise
from headway.settings import (
    INTEGER_MAX,
    boolean,
    check,
    choice,
    entries,
    integer,
    number,
    optional_path,
    text,
    texts,
)

FORMATS = ("tflite", "onnx")
PRECISIONS = {"none": "float32", "float16": "float16", "dynamic": "dynamic", "int8": "int8"}
MISSING = ("mean", "median", "last")
FEATURES_MAX = 65_536
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
        "mean", MISSING, key="--missing", doc="What missing values become: the channel's mean, median, or last value."
    )
    denoise: str = choice("none", tuple(Denoise), key="--denoise", doc="Smoothing of windows along time.")
    median_width: int = integer(
        3, key="--median-width", low=3, high=MEDIAN_WIDTH_MAX, doc="Time steps of the median filter, odd."
    )
    ewma_weight: float = number(0.5, key="--ewma-weight", low=0, high=1, doc="Weight of the newest value, above 0.")
    standardise: bool = boolean(
        False, key="--standardise", doc="Zero mean and unit deviation per channel, if the model expects that."
    )
    pca: int = integer(
        0, key="--pca", high=FEATURES_MAX, doc="Principal components of the embedding to keep; 0: keep the embedding."
    )
    select: int = integer(0, key="--select", high=FEATURES_MAX, doc="Best features to keep; 0: keep all.")
    select_by: str = choice(
        "f-score", ("f-score", "mutual-information"), key="--select-by", doc="What makes a feature a good one."
    )
    expand: int = integer(
        0,
        key="--expand",
        low=-1,
        high=FEATURES_MAX,
        doc="Random ReLU features to add; auto (-1 in Python): chosen by time-ordered cross-validation.",
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
        if self.pca and self.select:
            raise ConfigError("--pca and --select exclude each other; give one")


def writable(path: Path) -> None:
    """Refuse a target that cannot be written, before hours are spent on its content. Raises ConfigError."""
    if not path.parent.is_dir():
        raise ConfigError(f"cannot write {path}: folder {path.parent} does not exist")
    if path.is_dir():
        raise ConfigError(f"cannot write {path}: it is a folder; name a file in it")
