"""What readers of an earlier release say of bundles and messages that hold what they do not know."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from headway.bundle import read_variant
from headway.errors import RemoteError
from headway.maths import Preprocessing, Statistics, WindowFeatures
from headway.wire import (
    REGIONS_MAX,
    Desired,
    Seal,
    StatisticsReport,
    regions_in,
    with_order_seal,
    with_regions,
)
from tests.headway.bundles import GOLDEN, small_variant


def test_readers_of_release_0_2_refuse_what_they_do_not_know_in_one_line(tmp_path: Path) -> None:
    """A front end by its name; a bundle without a backbone for having none, which they look for first."""
    made = Preprocessing((2, 2), np.zeros(2, np.float32), np.zeros(4, np.float32), np.ones(4, np.float32),
                         front_end=WindowFeatures(("mean", "max")))  # fmt: skip
    replace(small_variant(), preprocessing=made).write(tmp_path / "front.hwb")
    assert read_variant(tmp_path / "front.hwb").preprocessing.scaled_channels == 4
    code = (
        "from headway.bundle import read_variant\n"
        "from headway.errors import BundleError\n"
        "for path in sys.argv[2:]:\n"
        "    try: read_variant(Path(path))\n"
        "    except BundleError as error: print(error)\n"
    )
    given = [GOLDEN / name for name in ("plain.hwb", "features.hwb")]
    # and nothing about plain.hwb, whose manifest has a hash of its own in a place where that release passes over it
    none, front = said_by_release_0_2(code, *given, tmp_path / "front.hwb")
    assert none.endswith("features.hwb: manifest names no input shape, no class or no backbone")
    assert "front.hwb: unknown key 'front_end' in preprocessing of manifest" in front


def test_release_0_2_reads_an_order_without_a_seal_and_refuses_one_with_it_in_one_line() -> None:
    """So a server seals orders of bundles for newer devices alone; that release knows no others."""
    plain = Desired("a" * 64, 10, "watch", "1.0.0", 3).encode()
    code = (
        "from headway.errors import RemoteError\n"
        "from headway.wire import Desired\n"
        "for text in sys.argv[2:]:\n"
        "    try: print(Desired.decode(text.encode()).encode().decode())\n"
        "    except RemoteError as error: print(error)\n"
    )
    sealed = with_order_seal(plain, Seal(7, 1, bytes(8), bytes(64)))
    read, refused = said_by_release_0_2(code, plain.decode(), sealed.decode())
    assert read.encode() == plain, "and what that release writes is what this one writes"
    assert refused.startswith("unknown key 'optional' in desired;")


def test_the_report_of_a_region_is_that_of_a_device_to_who_knows_no_regions() -> None:
    """But for release 0.2, which refuses all that is optional, and whose bounds no region fits anyway."""
    plain = StatisticsReport("d1", 7, 3, Statistics.zeros(2, ("a", "b"), "5" * 64))
    told = with_regions(plain.encode(), [2**48, 7])
    assert StatisticsReport.decode(told) == plain
    assert (regions_in(told), regions_in(plain.encode())) == ((2**48, 7), ())
    assert len(regions_in(with_regions(told, range(2000)))) == REGIONS_MAX
    with pytest.raises(RemoteError, match="regions of optional"):
        regions_in(told.replace(b"281474976710656", b"-81474976710656"))
    code = (
        "from headway.errors import RemoteError\n"
        "from headway.wire import StatisticsReport\n"
        "try: StatisticsReport.decode(bytes.fromhex(sys.argv[2]))\n"
        "except RemoteError as error: print(error)\n"
    )
    (refused,) = said_by_release_0_2(code, told.hex())
    assert refused.startswith("unknown key 'optional' in statistics metadata")


def said_by_release_0_2(code: str, *arguments: object) -> list[str]:
    """Lines that it prints."""
    release = GOLDEN.parent / "releases" / "headway-0.2.0.zip"
    begin = "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1])\n"
    command = [sys.executable, "-P", "-c", begin + code, release, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
