"""docs/bundle-format.md names every refused case, and only cases that exist."""

from __future__ import annotations

import re
from pathlib import Path

from tests.headway import test_bundle, test_variant

PAGE = (Path(__file__).parents[2] / "docs" / "bundle-format.md").read_text()


def test_the_table_of_refused_cases_is_the_tests() -> None:
    section = PAGE.split("## 7. Refused cases")[1].split("\n## ")[0]
    named = {name for row in section.splitlines() if row.startswith("| ") for name in re.findall(r"`([^`]+)`", row)}
    functions = {name for module in (test_bundle, test_variant) for name in dir(module) if name.startswith("test_")}
    cases = set(test_bundle.BROKEN) | set(test_variant.BROKEN)
    assert {name for name in named if not name.startswith("test_")} == cases
    assert {name for name in named if name.startswith("test_")} <= functions


def test_the_limits_on_the_page_are_those_of_the_code() -> None:
    limits = test_bundle.BundleLimits()
    assert (limits.manifest_bytes_max, limits.member_count_max) == (1 << 20, 64)
    assert (limits.member_bytes_max, limits.total_bytes_max) == (256 << 20, 512 << 20)
    for text in ("| manifest | 1 MiB |", "| members | 64 |", "| one member | 256 MiB |", "| whole file | 512 MiB |"):
        assert text in PAGE
