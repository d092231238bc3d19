"""The arm64 package's code on an emulated ARM: the same codes give the same tables, bit for bit.

The codes themselves come from the inference runtime, whose kernels differ from machine to machine: what differs is
reported, for each backbone of the bundle. What that does to accuracy, on a larger model: benchmarks/arm.py.
`make system-test`; slow, needs root.
"""

from __future__ import annotations

import io
import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest

from headway.bundle import read_variant
from testbed.debian import why_not as no_debian
from testbed.tables import CODES_FILE, made_here
from testbed.virtual import MACHINES, Image, Virtual, make_disk, read_file, why_not
from tests.realsystem.packages import package
from tests.system.conftest import make_bundle
from tests.system.make_model import CLASSES, data

REASON = no_debian() or why_not(MACHINES["arm64"])
pytestmark = [
    pytest.mark.slow,
    pytest.mark.system,
    pytest.mark.skipif(bool(REASON), reason=REASON or "ARM is emulated"),
]
WINDOWS = 400
BOOT_TIMEOUT_S, OFF_TIMEOUT_S = 400.0, 200.0


def test_arm_makes_the_same_tables_of_the_same_codes_to_the_bit() -> None:
    with tempfile.TemporaryDirectory(prefix="headway-arm-") as name:
        folder = Path(name)
        content = folder / "data"
        content.mkdir()
        bundle = make_bundle(folder, "--quantize", "none,int8")
        shutil.copy(bundle, content / "model.hwb")
        variant = read_variant(bundle)
        x, y = data(WINDOWS, seed=21)
        size = variant.training_statistics.gram.shape[0] - 1
        codes = np.random.default_rng(5).integers(-127, 128, (WINDOWS, size), dtype=np.int8)
        np.savez(content / "windows.npz", x=x, y=y % len(CLASSES), codes=codes)
        make_disk(folder / "data.img", 16, content)
        image = Image(MACHINES["arm64"], folder / "image", package("headway-agent", "deb12", "arm64", folder))
        machine = Virtual(image, folder / "data.img", "tables")
        try:
            arm = json.loads(machine.wait_for("TABLES ", BOOT_TIMEOUT_S))
            machine.wait_until_off(OFF_TIMEOUT_S)
        finally:
            machine.cut()
        here = made_here(bundle, content / "windows.npz", folder / CODES_FILE)
        own = np.load(folder / CODES_FILE)
        theirs = np.load(io.BytesIO(read_file(folder / "data.img", CODES_FILE)))
    assert arm["machine"] == "aarch64"
    assert arm["tables"] == here["tables"]
    print(f"head solved from the same tables: {'the same bits' if arm['head'] == here['head'] else 'other bits'}")
    for precision in own.files:
        step = np.abs(own[precision].astype(int) - theirs[precision])
        print(f"{precision} backbone: {np.count_nonzero(step)} of {step.size} codes differ, by at most {step.max()}")
