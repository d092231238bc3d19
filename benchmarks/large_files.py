"""How much memory a spool file takes, at the bounds of what is accepted, and how long the watchdog waits meanwhile.

    python -m benchmarks.large_files [WORDS ...]

Each file goes to an agent of its own, without a broker, with the stream of `STREAM`. MB (10^6 bytes) beyond what is
resident when idle: the most until the file is answered or refused, or for as long as is waited, and a second later; and
the longest time between two signs of life to the watchdog. Words choose files by their names.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import tempfile
import time
import wave
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.agents import watched_agent
from benchmarks.interpreters import machine
from benchmarks.models import SHAPES, trained
from benchmarks.resident import SHAPE, megabytes
from converter import Options, convert
from converter.sources import QUIET
from headway.arrays import AnyArray

LOOK_S, IDLE_S, WAIT_S = 0.1, 1.0, 60.0
DEFLATED_BYTES, STORED_BYTES, TEXT_BYTES = 250_000_000, 60_000_000, 100_000_000
ID_CHARACTERS = 100
STREAM = """\
rate_hz = 100.0
length = 100
hop = 50
resampling = "none"
channels = [
"""
CHANNELS = 6
NAMES = b",".join(b"c%d" % number for number in range(CHANNELS))
Write = Callable[[Path], None]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.large_files", description=__doc__)
    parser.add_argument("words", nargs="*", help="only files with one of these in their names")
    options = parser.parse_args(arguments)
    os.environ.update(QUIET)
    with tempfile.TemporaryDirectory(prefix="headway-large-") as name:
        folder = Path(name)
        bundle, windows, labels = _bundle(folder)
        print(f"{machine()}; MB beyond idle")
        for what, (ending, write) in _files(windows, labels).items():
            if options.words and not any(word in what for word in options.words):
                continue
            most, after, seconds, silent_s = _give(folder, bundle, ending, write)
            words = f"{most:+6.1f} at most {after:+6.1f} after {seconds:3.0f} s, watchdog waited {silent_s:.2f} s"
            print(f"{what:<36} {words}", flush=True)
    return 0


def _bundle(folder: Path) -> tuple[Path, AnyArray, AnyArray]:
    shape = SHAPES[SHAPE]
    model, x, y = trained(shape)
    channels = "".join(f'    {{name = "c{number}"}},\n' for number in range(CHANNELS))
    (folder / "stream.toml").write_text(f"{STREAM}{channels}]\n")
    options = Options(formats=("tflite",), stream=folder / "stream.toml")
    convert(model, (x, y, shape.class_names), options, out=folder / "watch.hwb")
    return folder / "watch.hwb", *shape.draw(1_000, 5)


def _files(windows: AnyArray, labels: AnyArray) -> dict[str, tuple[str, Write]]:
    """By what each is: the ending of its name, and what writes it."""
    row_bytes = windows[0].nbytes
    stored, few = np.arange(STORED_BYTES // row_bytes) % len(windows), np.arange(20_000) % len(windows)
    ids = np.array([f"{number:0{ID_CHARACTERS}d}" for number in range(40_000)])
    zeros = np.zeros((DEFLATED_BYTES // row_bytes, *windows.shape[1:]), np.float32)
    rows = windows.reshape(-1, CHANNELS)
    return {
        "npz, 60 MB of windows": (".npz", _npz(x=windows[stored])),
        "npz, 20,000 labelled windows": (".npz", _npz(x=windows[few], y=labels[few])),
        "npz, 250 MB of windows, deflated": (".npz", _npz(deflated=True, x=zeros)),
        "npz, 2,000,000 labels by number": (
            ".npz",
            _npz(id=np.arange(2_000_000, dtype=np.int32), y=np.zeros(2_000_000, "i1")),
        ),
        "npz, 40,000 labels by long texts": (".npz", _npz(id=ids, y=np.zeros(len(ids), np.int8))),
        "npy, 60 MB of windows": (".npy", lambda path: _save(path, windows[stored])),
        "npy, 60 MB of rows": (".npy", lambda path: _save(path, windows[stored].reshape(-1, CHANNELS))),
        "wav, 60 MB of six channels": (".wav", _wav),
        "csv, 100 MB of windows": (".csv", _text(lambda: _csv_lines(windows.reshape(len(windows), -1)))),
        "csv, 100 MB of rows": (".csv", _text(lambda: _csv_lines(rows))),
        "csv, 100 MB of rows with labels": (".csv", _text(lambda: _labelled_lines(rows), NAMES + b",label\n")),
        "csv, 500,000 labels by number": (".csv", _text(lambda: _label_lines(500_000), b"id,label\n", rounds=1)),
        "csv, 100 MB of empty lines": (".csv", _text(lambda: iter([b"\n" * 1_000_000]))),
        "jsonl, 100 MB of windows": (".jsonl", _text(lambda: _json_windows(windows))),
        "jsonl, 100 MB of rows": (".jsonl", _text(lambda: _json_rows(rows))),
        "jsonl, 100 MB of empty lines": (".jsonl", _text(lambda: iter([b"\n" * 1_000_000]))),
    }


def _give(folder: Path, bundle: Path, ending: str, write: Write) -> tuple[float, float, float, float]:
    with tempfile.TemporaryDirectory(dir=folder) as place, watched_agent(Path(place), bundle) as (process, watchdog):
        home = Path(place)
        write(home / f"waiting{ending}")
        time.sleep(IDLE_S)
        idle = megabytes(process.pid, "VmRSS")
        Path(f"/proc/{process.pid}/clear_refs").write_text("5")  # forgets the most that was resident
        large = home / "spool" / f"large{ending}"
        (home / f"waiting{ending}").rename(large)
        watchdog.longest_s()
        began_s = time.monotonic()
        claimed = home / "spool" / "claimed"
        while time.monotonic() < began_s + WAIT_S:
            time.sleep(LOOK_S)
            if not large.exists() and not any(claimed.iterdir()):
                break
        seconds, silent_s = time.monotonic() - began_s, watchdog.longest_s()
        time.sleep(IDLE_S)
        most, after = megabytes(process.pid, "VmHWM") - idle, megabytes(process.pid, "VmRSS") - idle
        return most, after, seconds, silent_s


def _npz(*, deflated: bool = False, **content: AnyArray) -> Write:
    def write(path: Path) -> None:
        (np.savez_compressed if deflated else np.savez)(path, **content)  # type: ignore[arg-type]

    return write


def _save(path: Path, array: AnyArray) -> None:
    np.save(path, array)


def _wav(path: Path) -> None:
    """Six channels at 100 Hz, 16 bits."""
    samples = np.random.default_rng(3).integers(-9_000, 9_000, STORED_BYTES // 2, np.int16)
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(CHANNELS)
        sound.setsampwidth(2)
        sound.setframerate(100)
        sound.writeframes(samples.tobytes())


def _text(pieces: Callable[[], Iterator[bytes]], head: bytes = b"", rounds: int | None = None) -> Write:
    """What one round of pieces holds, again and again up to `TEXT_BYTES`, or as often as `rounds` says."""

    def write(path: Path) -> None:
        round_ = b"".join(pieces())
        with path.open("wb") as stream:
            stream.write(head)
            for _ in range(rounds or max(1, TEXT_BYTES // len(round_))):
                stream.write(round_)

    return write


def _csv_lines(table: AnyArray) -> Iterator[bytes]:
    text = io.BytesIO()
    np.savetxt(text, table, fmt="%.4f", delimiter=",")
    yield text.getvalue()


def _labelled_lines(rows: AnyArray) -> Iterator[bytes]:
    for number, line in enumerate(next(_csv_lines(rows)).splitlines()):
        yield line + (b",0\n" if number // 1_000 % 2 else b",1\n")


def _label_lines(count: int) -> Iterator[bytes]:
    for number in range(count):
        yield b"%d,0\n" % number


def _json_windows(windows: AnyArray) -> Iterator[bytes]:
    for line in next(_csv_lines(windows.reshape(len(windows), -1))).splitlines():
        yield b'{"x": [' + line + b"]}\n"


def _json_rows(rows: AnyArray) -> Iterator[bytes]:
    for line in next(_csv_lines(rows)).splitlines():
        named = (b'"c%d": ' % place + number for place, number in enumerate(line.split(b",")))
        yield b"{" + b", ".join(named) + b"}\n"


if __name__ == "__main__":
    sys.exit(main())
