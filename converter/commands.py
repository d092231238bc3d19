"""The commands of ``edge-convert`` on click. The options of a conversion are those that `Options` declares."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

import headway
from converter.options import Options
from headway.bundle import read_container, read_public_key, read_variant
from headway.command_line import Command, Group, Option, file_path, option
from headway.errors import INTERRUPTED, HeadwayError
from headway.fields import readable_json
from headway.logs import print_unexpected
from headway.ports import SystemClock
from headway.settings import Entry, Kind, entries, limits, written

if TYPE_CHECKING:
    from converter.report import Report
    from converter.trainable import TrainableReport

# the fields of Options, as the help groups them
# fmt: off
GROUPS = {
    "Reading the data": (
        "classes", "label_columns", "columns", "without_columns", "text_column", "window", "stride",
        "skip_unlabelled", "image_size", "task", "time_axis",
    ),
    "Reading the model": ("cut", "input_shape", "modules", "allow_lambda"),
    "The bundle": ("name", "version", "release", "licence", "provenance", "stream", "key", "html"),
    "Backbones": ("backbone", "formats", "quantize", "allow_flex", "tflite_python"),
    "What a backbone must keep": ("drop_points_max", "agreement_percent_min", "difference_max"),
    "Preprocessing": ("missing", "clip", "denoise", "median_width", "ewma_weight", "cutoff", "scale", "standardise"),
    "A front end": (
        "front_end", "rate_hz", "frame", "hop", "fft", "bands", "low_hz", "high_hz", "coefficients", "features",
    ),
    "Features": ("pca", "select", "select_by", "expand", "expand_input"),
    "Training data to carry": ("buffer_per_class", "evaluation_rows", "seed"),
}
# fmt: on
TYPES = {Kind.INTEGER: int, Kind.NUMBER: float, Kind.BOOLEAN: bool, Kind.PATH: file_path()}
METAVARS = {
    "release": "N", "cut": "LAYER", "key": "PEM", "html": "FILE", "tflite_python": "PYTHON", "pca": "K|auto",
    "select": "K", "expand": "N|auto", "formats": "LIST", "quantize": "LIST", "classes": "A,B,...",
    "label_columns": "COLUMN,...", "text_column": "COLUMN", "columns": "A,B,...",
    "without_columns": "A,B,...", "image_size": "H,W",
    "input_shape": "N,N,...", "modules": "MODULE", "stream": "TOML", "features": "LIST", "rate_hz": "HZ",
    "low_hz": "HZ", "high_hz": "HZ",
}  # fmt: skip
VERSION_ASKED = "asked"
THE_CONVERSION = ""  # the name of the command that needs none


def _count(ctx: click.Context, param: click.Parameter, value: str) -> int:
    """A whole number, or a word that stands for one in `Options`."""
    words = dict(next(entry.setting.words for entry in entries(Options) if entry.name == param.name))
    if value not in words and not value.isdecimal():
        raise click.BadParameter(f"{value!r} must be a whole number or {' or '.join(words)}", ctx, param)
    return words[value] if value in words else int(value)


def _lengths(ctx: click.Context, param: click.Parameter, value: str) -> tuple[int, ...]:
    """``128,6``, also as people write a shape: ``128x6`` or ``(128, 6)``."""
    parts = value.replace("x", ",").strip("() ,").split(",") if value else []
    if not all(part.strip().isdecimal() for part in parts):
        raise click.BadParameter(f"{value!r} must be whole numbers such as 128,6", ctx, param)
    return tuple(int(part) for part in parts)


def _texts(ctx: click.Context, param: click.Parameter, value: str) -> tuple[str, ...]:
    return tuple(value.split(",")) if value else ()


class _ModelOrCommand(Group):
    """``edge-convert MODEL ...`` converts; a first word that is a command is that command.

    A model may be called "verify": a file of that name is still converted when written ./verify
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        completing = ctx.resilient_parsing and not args
        if not completing and (not args or args[0] not in self.commands):
            args = [THE_CONVERSION, *args]
        return super().parse_args(ctx, args)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return _convert if cmd_name == THE_CONVERSION else super().get_command(ctx, cmd_name)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        if incomplete.startswith("-"):
            return _convert.shell_complete(ctx, incomplete)
        return [CompletionItem(incomplete, type="file"), *super().shell_complete(ctx, incomplete)]


class _Convert(Command):
    """The conversion's help stands for the whole program's, so it lists the commands, too."""

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_usage("edge-convert", "MODEL --data DATA --out FILE [OPTIONS]")
        formatter.write_usage("edge-convert", "--from-csv DATA.csv --out FILE [OPTIONS]", prefix=" " * len("Usage: "))
        formatter.write_usage("edge-convert", "COMMAND [ARGUMENTS]", prefix=" " * len("Usage: "))

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, each.get_short_help_str(80)) for name, each in sorted(edge_convert.commands.items())]
            )
        super().format_options(ctx, formatter)


def _tell_version(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    if value is None or ctx.resilient_parsing:
        return
    if value != VERSION_ASKED:
        raise click.UsageError(
            f"--version takes no value, got {value!r}: it prints this program's version; "
            "the model's is --model-version",
            ctx,
        )
    click.echo(f"edge-convert {headway.__version__}")
    ctx.exit()


def _declared(entry: Entry, group: str) -> Option:
    """One field of `Options` as an option."""
    setting, default = entry.setting, entry.default
    flag = setting.kind is Kind.BOOLEAN
    if isinstance(default, tuple):
        default = ",".join(default)
    named, many = bool(setting.words), entry.name == "modules"
    if named:
        default = str(written(setting, default))
    callbacks = {Kind.LENGTHS: _lengths, Kind.TEXTS: None if many else _texts}
    return Option(
        [*(("--id", "--name") if entry.name == "name" else (entry.key,)), entry.name],
        group=group,
        help=setting.doc.rstrip("."),
        limits=_limits(entry),
        known=setting.choices,
        is_flag=flag,
        type=str if named else TYPES.get(setting.kind, str),
        callback=_count if named else callbacks.get(setting.kind),
        multiple=many,
        default=None if entry.name == "formats" or many else default,
        default_elsewhere="by the model" if entry.name == "formats" else "",
        show_default=not flag and default not in ("", None),
        metavar=None
        if flag
        else METAVARS.get(entry.name, "N" if setting.kind in (Kind.INTEGER, Kind.NUMBER) else "TEXT"),
    )


def _limits(entry: Entry) -> str:
    match entry.setting.kind:
        case Kind.BOOLEAN | Kind.PATH | Kind.TEXT:
            return ""
        case Kind.TEXTS:
            return f"any of {', '.join(entry.setting.choices)}" if entry.setting.choices else ""
        case Kind.LENGTHS:
            return ""
        case Kind.CHOICE:
            return f"one of {', '.join(entry.setting.choices)}"
        case _:
            return limits(entry.setting)


def _options_of_a_conversion(command: Any) -> _Convert:
    """Put the options of `GROUPS` between those that are needed and those of the program."""
    by_name = {entry.name: entry for entry in entries(Options)}
    declared = [_declared(by_name[name], group) for group, names in GROUPS.items() for name in names]
    made: _Convert = command
    made.params[3:3] = declared
    return made


@_options_of_a_conversion
@click.command(cls=_Convert)
@click.argument("model", type=file_path(), metavar="[MODEL]", required=False)
@option(
    "--data",
    group="Needed",
    type=file_path(),
    metavar="DATA",
    help="Training data: .npz with x, y and optional classes; .csv; a folder of images or .wav by class",
)
@option(
    "--from-csv", group="Needed", type=file_path(), metavar="DATA.csv",
    help="Instead of a model and its data: a table to train a small network on, and to convert it",
)  # fmt: skip
@option(
    "-o", "--out", group="Needed", type=file_path(), required=True, metavar="FILE",
    help="The bundle to write, .hwb (with --trainable: .tflite)",
)  # fmt: skip
@option("--trainable", is_flag=True, help="Write one .tflite with infer, train, get_head, set_head instead")
@option("--json", "as_json", is_flag=True, help="Print the report as JSON, and the steps meanwhile on stderr")
@option("--verbose", is_flag=True, help="Show TensorFlow's own log, and the traceback of what nobody foresaw")
@option(
    "--version", "tell_version", is_flag=False, flag_value=VERSION_ASKED, is_eager=True, expose_value=False,
    callback=_tell_version, metavar="", help="Show this program's version; the model's is --model-version",
)  # fmt: skip
@click.version_option(headway.__version__, "--program-version", message="edge-convert %(version)s", hidden=True)
def _convert(
    model: Path | None,
    data: Path | None,
    from_csv: Path | None,
    out: Path,
    trainable: bool,
    as_json: bool,
    verbose: bool,
    **given: Any,
) -> int | None:
    """Turn a trained model into a bundle a device can learn with.

    MODEL is a .keras, .h5 or .onnx file or a SavedModel folder. Nothing is written unless the backbone is proven equal
    to it. Who has no model gives a table, --from-csv, or data and no network at all, --backbone none.
    """
    onnx = model is not None and model.suffix == ".onnx"
    formats = given.pop("formats") or (("onnx",) if onnx and not trainable else ("tflite",))
    options = Options(formats=formats, **given)
    if from_csv is not None and (model is not None or data is not None):
        raise click.UsageError(f"--from-csv {from_csv} trains a network of its own; leave out MODEL and --data")
    if options.backbone == "none" and (model is not None or trainable):
        raise click.UsageError("--backbone none is made of data alone; leave out MODEL and --trainable")
    if from_csv is None and (data is None or (model is None and options.backbone != "none")):
        raise click.UsageError("give MODEL and --data DATA, or a table alone: --from-csv DATA.csv")
    try:
        _write(model, data, from_csv, out, options, trainable=trainable, as_json=as_json, verbose=verbose)
    except (HeadwayError, ModuleNotFoundError, click.ClickException, click.Abort):
        raise
    except KeyboardInterrupt:
        print("\ninterrupted; nothing was written", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 (the last resort)
        if verbose:
            traceback.print_exc()
        return print_unexpected(error, "--verbose", "nothing was written")
    return 0


def _write(
    model: Any, data: Any, table: Path | None, out: Path, options: Options, *, trainable: bool, as_json: bool,
    verbose: bool,
) -> None:  # fmt: skip
    from converter.convert import convert
    from converter.progress import Steps

    if not verbose and options.backbone != "none":
        _mute_native_logs()
    with Steps(sys.stderr if as_json else sys.stdout, SystemClock()) as steps:
        report: Report | TrainableReport
        if options.backbone == "none":
            from converter.without_backbone import convert_data

            report = convert_data(table or data, options, out=out, progress=steps, table=table is not None)
        else:
            if table is not None:
                model, data, options = _with_network(table, out, options, steps, trainable=trainable)
            if trainable:
                from converter.trainable import write_trainable

                report = write_trainable(model, data, out, options, steps, log=verbose)
            else:
                report = convert(model, data, options, out=out, progress=steps, log=verbose)
    print(readable_json(report.as_json()) if as_json else "\n".join(report.lines()))


def _with_network(table: Path, out: Path, options: Options, steps: Any, *, trainable: bool) -> tuple[Any, Any, Options]:
    """A small network that is trained on the table; what cannot be written is refused before that."""
    from converter.overwriting import check_targets, read_by
    from converter.small_network import small_network

    kind = "trainable .tflite" if trainable else "bundle"
    check_targets({"--out": (kind, out), "--html": ("report", options.html)}, read_by(None, table, options))
    return small_network(table, options, steps)


@click.group(cls=_ModelOrCommand)
def edge_convert() -> None:
    """Turn a trained model into a bundle a device can learn with."""


@edge_convert.command("inspect")
@click.argument("file", type=file_path(), metavar="FILE")
def _inspect(file: Path) -> None:
    """Show what a bundle holds."""
    from converter.inspection import inspect_lines

    print("\n".join(inspect_lines(file)))


@edge_convert.command("verify")
@click.argument("file", type=file_path(), metavar="FILE")
@option("--pubkey", type=file_path(), metavar="FILE", help="The bundle must be signed with this key")
@option("--release-min", type=int, default=0, metavar="N", show_default=True, help="Refuse an older release")
def _verify(file: Path, pubkey: Path | None, release_min: int) -> None:
    """Check a bundle, as a device would."""
    public_key = None if pubkey is None else read_public_key(pubkey)
    variant = read_variant(file, public_key=public_key, release_min=release_min)
    signed = "signature valid" if public_key else "signed" if read_container(file).signature else "not signed"
    print(f"{file}: {variant.name} {variant.version}, release {variant.release}: whole, {signed}")


@edge_convert.command("keygen")
@click.argument("file", type=file_path(), required=False, metavar="[FILE]", default=Path("signing.pem"))
def _keygen(file: Path) -> None:
    """Make a signing key (Ed25519).

    The private half goes to FILE (signing.pem), the public one beside it (signing.pem.pub).
    """
    from converter.keys import generate_key

    public = generate_key(file)
    print(f"{file}: private, keep it off every device\n{public}: public, copy it to the devices")


def _mute_native_logs() -> None:
    """Send what TensorFlow's C++ code writes to descriptor 2 to nowhere; our own errors keep the old one.

    It logs its start-up there, whatever its log level; failures come back as exceptions.
    """
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
