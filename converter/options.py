"""What can be asked of a conversion, validated when built."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from headway.errors import ConfigError
from headway.fields import nearest
from headway.maths import Denoise, Task, TimeAxis

FORMATS = ("tflite", "onnx")
PRECISIONS = {"none": "float32", "float16": "float16", "dynamic": "dynamic", "int8": "int8"}
MISSING = ("mean", "median", "last")


@dataclass(frozen=True, slots=True)
class Options:
    """All choices of one conversion; the defaults give one TFLite float32 backbone.

    name, version: shown to people; release: a number that only grows, so that devices refuse to go back.
    formats, quantize: which backbones to write; those that fail the gate are left out, with the reason reported.
    classes: names of the model's outputs, in their order, where the data does not bring them.
    label_columns, columns, window, image_size: how a .csv or a folder is read (converter/features/readers.py).
    input_shape: of a window, for models that leave lengths free; modules: imported first, they register layers of the
    user's own (names, or .py files); allow_lambda: open files with Lambda layers, whose code then runs here.
    cut: name of the layer that is the head; task: what y means, of headway.maths.Task, or ``auto`` by the head;
    drop_points_max: accuracy a quantised backbone may lose, in points;
    agreement_percent_min: how many of its answers must be the source model's, right or wrong (docs/adr/0017).
    difference_max: of a float32 backbone from the model, in features (over their scale) and in outputs.
    time_axis: ``first`` for windows (time, ..., channels), ``last`` for (channels, ..., time), or ``auto``.
    missing, denoise, standardise: preprocessing to fit (headway/maths/preprocessing.py).
    pca, select: keep so many components or features; select_by: ``f-score`` or ``mutual-information``.
    expand: random ReLU features to add, or -1 to choose by cross-validation; expand_input: of the preprocessed
    input instead of the embedding. buffer_per_class, evaluation_rows: training rows carried along.
    """

    name: str = ""
    version: str = "1.0.0"
    release: int = 1
    formats: tuple[str, ...] = ("tflite",)
    quantize: tuple[str, ...] = ("none",)
    classes: tuple[str, ...] = ()
    label_columns: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    window: int = 0
    image_size: tuple[int, ...] = ()
    cut: str = ""
    input_shape: tuple[int, ...] = ()
    modules: tuple[str, ...] = ()
    allow_lambda: bool = False
    task: str = "auto"
    drop_points_max: float = 0.5
    agreement_percent_min: float = 95.0
    difference_max: float = 1e-5
    allow_flex: bool = False
    time_axis: str = "auto"
    missing: str = "mean"
    denoise: str = "none"
    median_width: int = 3
    ewma_weight: float = 0.5
    standardise: bool = False
    pca: int = 0
    select: int = 0
    select_by: str = "f-score"
    expand: int = 0
    expand_input: bool = False
    buffer_per_class: int = 40
    evaluation_rows: int = 64
    seed: int = 0
    licence: str = ""
    provenance: str = ""
    key: Path | None = None
    html: Path | None = None
    tflite_python: Path | None = None

    def __post_init__(self) -> None:
        _among("--formats", self.formats, FORMATS)
        _among("--quantize", self.quantize, tuple(PRECISIONS))
        _among("--task", (self.task,), ("auto", *map(str, Task)))
        _among("--time-axis", (self.time_axis,), ("auto", *map(str, TimeAxis)))
        _among("--missing", (self.missing,), MISSING)
        _among("--denoise", (self.denoise,), tuple(map(str, Denoise)))
        _among("--select-by", (self.select_by,), ("f-score", "mutual-information"))
        if not 0 <= self.release < 2**53:
            raise ConfigError(f"--release {self.release} must be a whole number from 0 to 2^53; it grows each release")
        if not 0 <= self.drop_points_max <= 100:
            raise ConfigError(f"--max-drop {self.drop_points_max} must be from 0 to 100 points")
        if not 0 <= self.agreement_percent_min <= 100:
            raise ConfigError(f"--min-agreement {self.agreement_percent_min} must be from 0 to 100 percent")
        if not 1e-7 <= self.difference_max <= 1e-3:
            raise ConfigError(f"--max-difference {self.difference_max} must be from 1e-7 to 1e-3; the default is 1e-5")
        if self.pca and self.select:
            raise ConfigError("--pca and --select exclude each other; give one")
        for name, count, low in (
            ("--pca", self.pca, 0),
            ("--select", self.select, 0),
            ("--expand", self.expand, -1),
            ("--buffer", self.buffer_per_class, 0),
            ("--evaluation", self.evaluation_rows, 0),
        ):
            if not low <= count <= 65536:
                raise ConfigError(f"{name} {count} must be from 0 to 65536")
        if any(length < 1 for length in self.input_shape):
            raise ConfigError(f"--input-shape {self.input_shape} must be positive whole numbers, without the batch")
        if self.window < 0 or (self.image_size and (len(self.image_size) != 2 or min(self.image_size) < 1)):
            raise ConfigError(f"--window {self.window} and --image-size {self.image_size} must be positive: N, and H,W")
        for name, text, length in (("--id", self.name, 256), ("--version", self.version, 64)):
            _carried(name, text, length)
        for name, text in (("--licence", self.licence), ("--provenance", self.provenance)):
            _carried(name, text, 4096)


def chosen(options: Options) -> tuple[str, ...]:
    """What differs from the default, as ``name value``."""
    default = Options()
    return tuple(
        f"{field.name} {getattr(options, field.name)}"
        for field in fields(Options)
        if getattr(options, field.name) != getattr(default, field.name)
    )


def _carried(option: str, text: str, length: int) -> None:
    if len(text) > length:
        raise ConfigError(f"{option} has {len(text)} characters; at most {length} are carried")
    if not text.isprintable():
        raise ConfigError(f"{option} {text[:40]!r} holds characters that cannot be shown; leave them out")


def _among(option: str, given: tuple[str, ...], known: tuple[str, ...]) -> None:
    if not given:
        raise ConfigError(f"{option} is empty{nearest('', known)}")
    for item in given:
        if item not in known:
            raise ConfigError(f"{option} {item!r} is unknown{nearest(item, known)}")
