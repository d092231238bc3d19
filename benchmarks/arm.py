"""What ARM code makes of a model, beside this machine's.

    python -m benchmarks.arm [--seed N] [--package DEB]

A one-dimensional MobileNet (depthwise-separable convolutions, 256 features) is trained on the watch data of five people
and converted as float32, with int8 weights (dynamic) and as int8. The arm64 package then runs in an emulated machine
(QEMU, system emulation: every instruction is ARM's) on the windows of the other five. From the same codes it must make
the same tables, bit for bit; where they differ the exit code is 1. The codes come from the runtime's kernels,
which differ from machine to machine: how many differ, and what that does to accuracy, goes to docs/reference/arm.md.

Needs root, `apt-get install mmdebstrap qemu-system-arm`, and no KVM.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import numpy as np

from converter.sources import QUIET
from demo import watch
from headway.arrays import Int8
from headway.bundle import Variant, read_variant
from headway.maths import Statistics, fleet_head
from testbed.debian import why_not as no_debian
from testbed.tables import CODES_FILE, made_here
from testbed.virtual import MACHINES, Image, Virtual, make_disk, read_file, why_not

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reference" / "arm.md"
PRECISIONS = ("none", "dynamic", "int8")
# points of accuracy that a backbone may cost: edge-convert refuses this model's int8 at its default of 0.5
DROP_MAX = 2.0
WIDTHS = (64, 128, 128, 256)
EPOCHS, BATCH = 20, 64
DISK_MB = 48
TABLES_TIMEOUT_S, OFF_TIMEOUT_S = 3600.0, 300.0
HEAD = """\
# What ARM code makes of a model

Written by `python -m benchmarks.arm`: the arm64 package in an emulated Cortex-A72 (QEMU, system emulation) beside this
machine ({machine}), both with LiteRT. The model is a one-dimensional MobileNet with {features} features, trained on
five people's watches; the {windows} windows are those of ten wrists of five other people.

- **From the same codes ARM makes the same tables**: {windows} windows of {features} int8 codes, {bits}; the head that
  is solved from them has {head}.
- The codes themselves come from the runtime's kernels, which may round differently. A step is one code.

| backbone | codes that differ on ARM | largest step | windows with any | accuracy here | on ARM | here, then ARM |
|---|---|---|---|---|---|---|
{rows}

Accuracy is that on later windows after eight labels per class (the exact head of the training data and the wrist's
labels, mean of ten wrists); without labels it is {frozen}. "Here, then ARM": learned here and served on ARM.

What a smaller backbone does to the codes, on this machine alone (converted with `--max-drop {drop}`: points of accuracy
that a backbone may lose where it is converted, by default 0.5):

| backbone | codes that differ from float32's | largest step | accuracy | learned with float32, served with this |
|---|---|---|---|---|
{smaller}
"""


@dataclass(frozen=True, slots=True)
class Step:
    """How two machines' codes of the same windows differ. share, windows: 0 to 1; largest: in codes."""

    share: float
    largest: int
    windows: float

    @classmethod
    def between(cls, first: Int8, second: Int8) -> Step:
        step = np.abs(first.astype(np.int16) - second)
        return cls(float((step > 0).mean()), int(step.max()), float((step > 0).any(axis=1).mean()))


class Wrists:
    """The windows of the people whom the model has not seen. x float32 (n, 100, 6), y int64 (n,), wrist by wrist."""

    def __init__(self, devices: Mapping[str, watch.Windows]) -> None:
        parts = list(devices.values())
        self.x, self.y = np.concatenate([part.x for part in parts]), np.concatenate([part.y for part in parts])
        position = np.concatenate([part.position for part in parts])
        self._wrist = np.repeat(np.arange(len(parts)), [len(part.y) for part in parts])
        self._taught, self._later = position < watch.LABELS_PER_CLASS, position > watch.LABELS_PER_CLASS

    def accuracy(self, variant: Variant, learned: Int8, served: Int8) -> float:
        """Of later windows, mean over the wrists. learned, served: codes (n, d) that labels and answers come from."""
        found = []
        for wrist in np.unique(self._wrist):
            taught, later = self._taught & (self._wrist == wrist), self._later & (self._wrist == wrist)
            own = Statistics.of(learned[taught], self.y[taught], variant.classes, variant.space)
            head = fleet_head(variant.training_statistics, own)
            answers = head.logits(served[later].astype(np.float32)).argmax(axis=1)
            found.append(float((answers == self.y[later]).mean()))
        return float(np.mean(found))

    def frozen_accuracy(self, variant: Variant, codes: Int8) -> float:
        """Of the training data's own exact head."""
        empty = Statistics.of(codes[:0], self.y[:0], variant.classes, variant.space)
        head = fleet_head(variant.training_statistics, empty)
        rows = [self._later & (self._wrist == wrist) for wrist in np.unique(self._wrist)]
        answers = head.logits(codes.astype(np.float32)).argmax(axis=1)
        return float(np.mean([(answers[row] == self.y[row]).mean() for row in rows]))


@dataclass(frozen=True, slots=True)
class Made:
    """What one machine has made. codes: of each backbone, int8 (n, d); tables, head: digests (`testbed.tables`)."""

    tables: str
    head: str
    codes: Mapping[str, Int8]

    @classmethod
    def opened(cls, said: Mapping[str, Any], content: bytes) -> Made:
        with np.load(io.BytesIO(content)) as arrays:
            return cls(said["tables"], said["head"], {name: arrays[name] for name in arrays.files})


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.arm", description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1, help="of the model's training (default 1)")
    parser.add_argument("--package", type=Path, help="the agent's arm64 package for Debian 12; or else it is built")
    options = parser.parse_args(arguments)
    if missing := no_debian() or why_not(MACHINES["arm64"]):
        print(f"skipped: {missing}")
        return 0
    os.environ.update(QUIET)
    training, devices, classes = watch.load()
    wrists = Wrists(devices)
    with tempfile.TemporaryDirectory(prefix="headway-arm-") as name:
        folder = Path(name)
        bundle = made_bundle(folder, training, classes, options.seed)
        variant = read_variant(bundle)
        here, arm = both(folder, bundle, wrists, options.package)
    PAGE.write_text(page(variant, wrists, here, arm), encoding="utf-8")
    print(PAGE.read_text(encoding="utf-8"))
    return int(here.tables != arm.tables)


def made_bundle(folder: Path, training: watch.Windows, classes: Sequence[str], seed: int) -> Path:
    """The model, trained and converted in each precision."""
    mobile_net(training, len(classes), seed).save(folder / "watch.keras")
    np.savez(folder / "train.npz", x=training.x, y=training.y, classes=np.array(classes))
    program, out = str(Path(sys.executable).parent / "edge-convert"), folder / "watch.hwb"
    words = ("--data", str(folder / "train.npz"), "--out", str(out), "--quantize", ",".join(PRECISIONS))
    subprocess.run([program, str(folder / "watch.keras"), *words, "--max-drop", str(DROP_MAX)], check=True)
    return out


def mobile_net(training: watch.Windows, class_count: int, seed: int) -> Any:
    """A fitted keras.Model of one-dimensional MobileNet blocks. training.x: float32 (n, 100, 6)."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(seed)
    mean, variance = training.x.mean(axis=(0, 1)), training.x.var(axis=(0, 1))
    x = inputs = layers.Input(training.x.shape[1:])
    x = layers.Normalization(mean=mean, variance=variance)(x)
    x = layers.Conv1D(32, 5, strides=2, padding="same", use_bias=False)(x)
    x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
    for width in WIDTHS:
        x = layers.DepthwiseConv1D(5, padding="same", use_bias=False)(x)
        x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
        x = layers.Conv1D(width, 1, use_bias=False)(x)
        x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
    x = layers.Dropout(0.3)(layers.GlobalAveragePooling1D()(x))
    model = keras.Model(inputs, layers.Dense(class_count, activation="softmax")(x), name="watch")
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(training.x, training.y, epochs=EPOCHS, batch_size=BATCH, verbose=0)
    return model


def both(folder: Path, bundle: Path, wrists: Wrists, agent: Path | None) -> tuple[Made, Made]:
    """What this machine makes of the windows, and an emulated ARM."""
    content = folder / "data"
    content.mkdir()
    shutil.copy(bundle, content / "model.hwb")
    size = read_variant(bundle).training_statistics.gram.shape[0] - 1
    codes = np.random.default_rng(5).integers(-127, 128, (len(wrists.y), size), dtype=np.int8)
    np.savez(content / "windows.npz", x=wrists.x, y=wrists.y, codes=codes)
    make_disk(folder / "data.img", DISK_MB, content)
    said = made_here(bundle, content / "windows.npz", folder / CODES_FILE)
    here = Made.opened(said, (folder / CODES_FILE).read_bytes())
    image = Image(MACHINES["arm64"], folder / "image", agent or built_agent(folder))
    machine = Virtual(image, folder / "data.img", "tables")
    try:
        said = json.loads(machine.wait_for("TABLES ", TABLES_TIMEOUT_S))
        machine.wait_until_off(OFF_TIMEOUT_S)
    finally:
        machine.cut()
    if said["machine"] != "aarch64":
        raise RuntimeError(f"the emulated machine says that it is {said['machine']}")
    return here, Made.opened(said, read_file(folder / "data.img", CODES_FILE))


def built_agent(folder: Path) -> Path:
    command = [sys.executable, "-m", "scripts.deb", "headway-agent", "deb12", "arm64", "--out", str(folder)]
    return Path(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip())


def page(variant: Variant, wrists: Wrists, here: Made, arm: Made) -> str:
    """The page of the documentation. variant: of the bundle."""
    features = next(iter(here.codes.values())).shape[1]
    return HEAD.format(
        machine=f"{os.cpu_count()} shared {platform.machine()} cores".replace("_", "-"),
        features=features,
        drop=DROP_MAX,
        windows=f"{len(wrists.y):,}",
        bits="0 bits differ" if here.tables == arm.tables else "**and the tables differ**",
        head="the same bits" if here.head == arm.head else "other bits",
        rows="\n".join(_beside(variant, wrists, name, here.codes[name], arm.codes[name]) for name in here.codes),
        frozen=_percent(wrists.frozen_accuracy(variant, here.codes["float32"])),
        smaller="\n".join(_smaller(variant, wrists, here.codes, name) for name in here.codes if name != "float32"),
    )


def _beside(variant: Variant, wrists: Wrists, name: str, here: Int8, arm: Int8) -> str:
    step = Step.between(here, arm)
    pairs = ((here, here), (arm, arm), (here, arm))
    found = [_percent(wrists.accuracy(variant, learned, served)) for learned, served in pairs]
    return _row(name, _percent(step.share, 3), step.largest, _percent(step.windows), *found)


def _smaller(variant: Variant, wrists: Wrists, codes: Mapping[str, Int8], name: str) -> str:
    step = Step.between(codes["float32"], codes[name])
    pairs = ((codes[name], codes[name]), (codes["float32"], codes[name]))
    found = [_percent(wrists.accuracy(variant, learned, served)) for learned, served in pairs]
    return _row(name, _percent(step.share, 1), step.largest, *found)


def _percent(value: float, places: int = 2) -> str:
    return f"{100 * value:.{places}f} %"


def _row(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


if __name__ == "__main__":
    sys.exit(main())
