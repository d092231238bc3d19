"""What a conversion may write over: an earlier file of the same kind, never a model, data, a key or another output."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from converter.options import Options
from headway.bundle import MAGIC
from headway.errors import ConfigError

BEGINNINGS = {"bundle": (0, MAGIC), "trainable .tflite": (4, b"TFL3"), "report": (0, b"<!doctype html")}


def read_by(model: Any, data: Any, options: Options) -> dict[str, Path]:
    """The files a conversion reads, by what they are to the user; live models and arrays have none."""
    given = {
        "the model": model,
        "the data": data,
        "the signing key": options.key,
        "the interpreter of --tflite-python": options.tflite_python,
    }
    files = {what: Path(path) for what, path in given.items() if isinstance(path, (str, Path))}
    if options.key is not None:
        files["the public key"] = options.key.with_name(options.key.name + ".pub")
    return files


def check_targets(targets: Mapping[str, tuple[str, Path | None]], inputs: Mapping[str, Path]) -> None:
    """Refuse targets before hours are spent on their content. Raises ConfigError.

    targets: option -> (kind, one of `BEGINNINGS`; path); inputs: what is read, by what it is to the user. An existing
    file is replaced only when it begins as its kind does, so a word too many on the command line costs no data.
    """
    taken = dict(inputs)
    for option, (kind, path) in targets.items():
        if path is None:
            continue
        if not path.parent.is_dir():
            raise ConfigError(f"cannot write {path}: folder {path.parent} does not exist")
        if path.is_dir():
            raise ConfigError(f"cannot write {path}: it is a folder; name a file in it")
        for what, other in taken.items():
            if _same(path, other):
                raise ConfigError(f"{option} {path} is {what} too and would destroy it; name another file")
            if other.is_dir() and other.resolve() in path.resolve().parents:
                raise ConfigError(f"{option} {path} lies inside {what} {other}; name a file elsewhere")
        if path.exists() and not _of_kind(path, kind):
            raise ConfigError(f"{option} {path} exists and is no {kind}; name another file, or remove that one first")
        taken[f"the file of {option}"] = path


def _same(one: Path, other: Path) -> bool:
    """Whether two paths lead to one file, through links of either kind."""
    if one.exists() and other.exists():
        return os.path.samefile(one, other)
    return one.resolve() == other.resolve()


def _of_kind(path: Path, kind: str) -> bool:
    """Empty files are, as ``mktemp`` makes them."""
    if not path.is_file():
        return False
    start, beginning = BEGINNINGS[kind]
    try:
        with path.open("rb") as file:
            head = file.read(start + len(beginning))
    except OSError as error:
        raise ConfigError(f"cannot read {path}, which would be replaced: {error.strerror or error}") from error
    return not head or head[start:] == beginning
