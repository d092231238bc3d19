"""What readers of an earlier release say of bundles that hold what they do not know."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from headway.bundle import read_variant
from headway.maths import Preprocessing, WindowFeatures
from tests.headway.bundles import GOLDEN, small_variant


def test_readers_of_release_0_2_refuse_what_they_do_not_know_in_one_line(tmp_path: Path) -> None:
    """A front end by its name; a bundle without a backbone for having none, which they look for first."""
    made = Preprocessing((2, 2), np.zeros(2, np.float32), np.zeros(4, np.float32), np.ones(4, np.float32),
                         front_end=WindowFeatures(("mean", "max")))  # fmt: skip
    replace(small_variant(), preprocessing=made).write(tmp_path / "front.hwb")
    assert read_variant(tmp_path / "front.hwb").preprocessing.scaled_channels == 4
    code = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1])\n"
        "from headway.bundle import read_variant\n"
        "from headway.errors import BundleError\n"
        "for path in sys.argv[2:]:\n"
        "    try: read_variant(Path(path))\n"
        "    except BundleError as error: print(error)\n"
    )
    release = GOLDEN.parent / "releases" / "headway-0.2.0.zip"
    given = [GOLDEN / name for name in ("plain.hwb", "features.hwb")]
    command = [sys.executable, "-P", "-c", code, release, *given, tmp_path / "front.hwb"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    none, front = done.stdout.splitlines()  # and nothing about plain.hwb
    assert none.endswith("features.hwb: manifest names no input shape, no class or no backbone")
    assert "front.hwb: unknown key 'front_end' in preprocessing of manifest" in front
