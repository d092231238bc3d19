"""``edge-convert``: turn a trained Keras model into a bundle a device can learn with."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import headway
from converter.convert import Options, convert
from converter.training_data import read_training_data
from headway.errors import HeadwayError


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the command; returns the exit code (see headway.errors for the families)."""
    options = _parser().parse_args(arguments)
    if not options.verbose:
        _mute_native_logs()
    try:
        data = read_training_data(options.data)
        chosen = Options(options.name, options.version, options.release)
        report = convert(options.model, data, options.out, chosen, lambda step: print(f"  {step} ...", flush=True))
    except HeadwayError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print("\n".join(report.lines()))
    return 0


def _mute_native_logs() -> None:
    """Send what TensorFlow's C++ code writes to descriptor 2 to nowhere; our own errors keep the old one.

    It logs its start-up there, whatever its log level; failures come back as exceptions.
    """
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="edge-convert", description=__doc__)
    parser.add_argument("--program-version", action="version", version=f"edge-convert {headway.__version__}")
    parser.add_argument("model", type=Path, help="the trained model, .keras")
    parser.add_argument("--data", type=Path, required=True, help=".npz with x, y and optional classes")
    parser.add_argument("--out", type=Path, required=True, help="the bundle to write, .hwb")
    parser.add_argument("--name", default="", help="the model's name (default: the file's)")
    parser.add_argument("--version", default="1.0.0", help="the model's version, for people")
    parser.add_argument("--release", type=int, default=1, help="a number that grows with every release")
    parser.add_argument("--verbose", action="store_true", help="show TensorFlow's own log")
    return parser


if __name__ == "__main__":
    sys.exit(main())
