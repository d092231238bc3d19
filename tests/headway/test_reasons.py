"""The table of reason codes, and the same table in the protocol's text."""

from __future__ import annotations

import re
from pathlib import Path

from headway.mqtt.reason_codes import REASONS, REFUSED_FROM

PROTOCOL = Path(__file__).parents[2] / "docs" / "protocol.md"


def test_the_protocol_tells_the_same() -> None:
    section = PROTOCOL.read_text().split("## 8. Reason codes")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (\d+) \| (.+?) \| (\w+) \|$", section, flags=re.MULTILINE)
    assert rows == [(str(reason.code), reason.name, str(reason.response)) for reason in REASONS.values()]


def test_what_needs_a_person_tells_what_to_do() -> None:
    silent = [r.code for r in REASONS.values() if r.response in ("person", "move") and not r.advice]
    # not used by Headway, so nobody could follow an advice
    assert silent == [158, 161]
    assert all("\n" not in str(reason) for reason in REASONS.values())
    assert min(REASONS) == REFUSED_FROM
