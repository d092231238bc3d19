"""``edge-convert``: turn a trained model into a bundle a device can learn with; look at one, check one, make keys."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import headway
from converter.convert import convert
from converter.inspection import inspect_lines
from converter.keys import generate_key
from converter.options import Options
from converter.progress import Steps
from converter.report import Report
from headway.bundle import read_container, read_public_key, read_variant
from headway.errors import ConfigError, HeadwayError
from headway.ports import SystemClock

if TYPE_CHECKING:
    from converter.trainable import TrainableReport

INTERRUPTED = 130  # as shells count it: 128 and the signal
UNEXPECTED = 70  # EX_SOFTWARE


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the command; returns the exit code (see headway.errors for the families)."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    commands: dict[str, Callable[[list[str]], None]] = {
        "inspect": _inspect, "verify": _verify, "keygen": _keygen
    }  # fmt: skip
    try:
        # a model may be called "verify": a file of that name is still converted when written ./verify
        commands.get(given[0] if given else "", _convert)(given)
    except HeadwayError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except ModuleNotFoundError as error:
        print(f"error: {error.name} is not installed; pip install 'headway[converter]'", file=sys.stderr)
        return ConfigError.exit_code
    except KeyboardInterrupt:
        print("\ninterrupted; nothing was written", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        if "--verbose" in given:
            raise
        said = " ".join(str(error).split())
        print(
            f"error: unexpected {type(error).__name__}: {said}; nothing was written; this is a fault of edge-convert: "
            "report it with what --verbose shows",
            file=sys.stderr,
        )
        return UNEXPECTED
    return 0


def _convert(arguments: list[str]) -> None:
    given = _parser().parse_args(arguments)
    options = Options(
        name=given.name,
        version=given.version,
        release=given.release,
        formats=tuple((given.formats or _format(given)).split(",")),
        quantize=tuple(given.quantize.split(",")),
        classes=_names(given.classes),
        cut=given.cut,
        label_columns=_names(given.label),
        columns=_names(given.columns),
        window=given.window,
        image_size=given.image_size,
        input_shape=given.input_shape,
        modules=tuple(given.modules or ()),
        allow_lambda=given.allow_lambda,
        task=given.task,
        drop_points_max=given.max_drop,
        agreement_percent_min=given.min_agreement,
        difference_max=given.max_difference,
        allow_flex=given.allow_flex,
        time_axis=given.time_axis,
        missing=given.missing,
        denoise=given.denoise,
        median_width=given.median_width,
        ewma_weight=given.ewma_weight,
        standardise=given.standardise,
        pca=given.pca,
        select=given.select,
        select_by=given.select_by,
        expand=given.expand,
        expand_input=given.expand_input,
        buffer_per_class=given.buffer,
        evaluation_rows=given.evaluation,
        seed=given.seed,
        licence=given.licence,
        provenance=given.provenance,
        key=given.key,
        html=given.html,
        tflite_python=given.tflite_python,
    )
    if not given.verbose:
        _mute_native_logs()
    with Steps(sys.stderr if given.json else sys.stdout, SystemClock()) as steps:
        report: Report | TrainableReport
        if given.trainable:
            from converter.trainable import write_trainable

            report = write_trainable(given.model, given.data, given.out, options, steps)
        else:
            report = convert(given.model, given.data, options, out=given.out, progress=steps)
    print(json.dumps(report.as_json(), indent=2) if given.json else "\n".join(report.lines()))


def _format(given: argparse.Namespace) -> str:
    return "onnx" if given.model.suffix == ".onnx" and not given.trainable else "tflite"


def _inspect(arguments: list[str]) -> None:
    parser = _Parser(prog="edge-convert inspect", description="show what a bundle holds")
    parser.add_argument("file", type=Path)
    print("\n".join(inspect_lines(parser.parse_args(arguments[1:]).file)))


def _verify(arguments: list[str]) -> None:
    parser = _Parser(prog="edge-convert verify", description="check a bundle, as a device would")
    parser.add_argument("file", type=Path)
    parser.add_argument("--pubkey", type=Path, help="the bundle must be signed with this key")
    parser.add_argument("--release-min", type=int, default=0, help="refuse an older release")
    given = parser.parse_args(arguments[1:])
    public_key = None if given.pubkey is None else read_public_key(given.pubkey)
    variant = read_variant(given.file, public_key=public_key, release_min=given.release_min)
    signed = "signature valid" if public_key else "signed" if read_container(given.file).signature else "not signed"
    print(f"{given.file}: {variant.name} {variant.version}, release {variant.release}: whole, {signed}")


def _keygen(arguments: list[str]) -> None:
    parser = _Parser(prog="edge-convert keygen", description="make an Ed25519 signing key")
    parser.add_argument("file", type=Path, nargs="?", default=Path("signing.pem"))
    given = parser.parse_args(arguments[1:])
    public = generate_key(given.file)
    print(f"{given.file}: private, keep it off every device\n{public}: public, copy it to the devices")


def _mute_native_logs() -> None:
    """Send what TensorFlow's C++ code writes to descriptor 2 to nowhere; our own errors keep the old one.

    It logs its start-up there, whatever its log level; failures come back as exceptions.
    """
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)


class _Parser(argparse.ArgumentParser):
    """A wrong argument is a configuration error like any other: one line, exit code 2."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}; see {self.prog} --help")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="edge-convert", description=__doc__, epilog="also: edge-convert inspect FILE | verify FILE | keygen [FILE]"
    )
    add = parser.add_argument
    add("--program-version", action="version", version=f"edge-convert {headway.__version__}")
    add("model", type=Path, help="the trained model: .keras, .h5, .onnx or a SavedModel folder")
    add("--data", type=Path, required=True, help=".npz with x, y and optional classes; .csv; folder of images or .wav")
    add("-o", "--out", type=Path, required=True, help="the bundle to write, .hwb (with --trainable: .tflite)")
    add("--id", "--name", dest="name", default="", help="the model's name (default: the file's)")
    add("--version", default="1.0.0", help="the model's version, for people")
    add("--release", type=int, default=1, help="a number that grows with every release; devices never go back")
    add("--formats", default="", help="tflite,onnx (default tflite; onnx for an .onnx model)")
    add("--quantize", default="none", help="any of none,float16,dynamic,int8 (default none: float32)")
    add("--max-drop", type=float, default=0.5, help="points of accuracy a quantised backbone may lose (default 0.5)")
    add("--min-agreement", type=float, default=95, help="percent of a quantised backbone's answers that stay (95)")
    add("--max-difference", type=float, default=1e-5, help="of a float32 backbone from the model (default 1e-5)")
    add("--classes", default="", metavar="A,B,...", help="names of the outputs, in the model's order")
    add("--label", default="", metavar="COLUMN", help="of a .csv: the column of y (default: label, class, target or y)")
    add("--columns", default="", metavar="A,B,...", help="of a .csv: the columns of x (default: all others)")
    add("--window", type=int, default=0, metavar="N", help="rows of a .csv, samples of a .wav, that make one window")
    add("--image-size", type=_shape, default=(), metavar="H,W", help="scale the images of a folder")
    add("--cut", default="", metavar="LAYER", help="the layer that is the head (default: the last Dense)")
    add("--input-shape", type=_shape, default=(), metavar="N,N", help="of a window, where the model leaves it free")
    add("--import", dest="modules", action="append", metavar="MODULE", help="import first; it registers custom layers")
    add("--allow-lambda", action="store_true", help="run the code of Lambda layers in the model's file")
    add("--task", default="auto", help="classification, multi-label or regression, where y and head leave it open")
    add("--allow-flex", action="store_true", help="let TFLite use TensorFlow operators")
    add("--trainable", action="store_true", help="write one .tflite with infer, train, get_head, set_head instead")
    add("--time-axis", default="auto", help="where time lies in a window: first, last (channels first), or auto")
    add("--missing", default="mean", help="missing values become the channel's mean, median, or the last value")
    add("--denoise", default="none", help="smooth windows along time: none, median or ewma")
    add("--median-width", type=int, default=3, help="steps of the median filter, odd (default 3)")
    add("--ewma-weight", type=float, default=0.5, help="weight of the newest value (default 0.5)")
    add("--standardise", action="store_true", help="zero mean, unit deviation per channel, if the model expects that")
    add("--pca", type=int, default=0, metavar="K", help="keep K principal components of the embedding")
    add("--select", type=int, default=0, metavar="K", help="keep the K best features")
    add("--select-by", default="f-score", help="f-score or mutual-information")
    add("--expand", type=_expansion, default=0, metavar="N|auto", help="random ReLU features to add")
    add("--expand-input", action="store_true", help="expand the preprocessed input instead of the embedding")
    add("--buffer", type=int, default=40, help="training rows per class to carry, as int8 features (default 40)")
    add("--evaluation", type=int, default=64, help="training windows to carry for scoring heads (default 64)")
    add("--seed", type=int, default=0, help="of the expansion and the draw of the buffer")
    add("--licence", default="", help="licence note to carry")
    add("--provenance", default="", help="where model and data come from, to carry")
    add("--key", type=Path, metavar="PEM", help="sign with this private key")
    add("--html", type=Path, metavar="FILE", help="write the report as a page with pictures")
    add("--tflite-python", type=Path, metavar="PYTHON", help="interpreter that has tflite-runtime (numpy<2)")
    add("--json", action="store_true", help="print the report as JSON, and what is done meanwhile on stderr")
    add("--verbose", action="store_true", help="show TensorFlow's own log")
    return parser


def _expansion(text: str) -> int:
    if text != "auto" and not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number or auto")
    return -1 if text == "auto" else int(text)


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(",")) if text else ()


def _shape(text: str) -> tuple[int, ...]:
    parts = text.replace("x", ",").strip("() ,").split(",")
    if not all(part.strip().isdecimal() for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} must be whole numbers such as 128,6")
    return tuple(int(part) for part in parts)


if __name__ == "__main__":
    sys.exit(main())
