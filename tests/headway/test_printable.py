"""What comes from outside cannot act on a terminal, nor forge a line of a log."""

from __future__ import annotations

import io
import logging

import pytest

from headway.class_changes import ClassChanges
from headway.errors import DataError, RemoteError
from headway.fields import Fields
from headway.logs import PrintableFormatter
from headway.printable import is_printable, printable
from headway.wire.codec import read_classes

SAFE = ["", "pump 7", "gehen, laufen", "歩く", "приве́т", "👩\u200d🔬", "\u0644\u0627 \u0628\u0623\u0633"]
ACTING = [
    ("\x1b[2J", "\\x1b[2J"),
    ("\x1b]0;owned\x07", "\\x1b]0;owned\\x07"),
    ("a\nroot  yes", "a\\nroot  yes"),
    ("a\rb", "a\\rb"),
    ("\x9b31m", "\\x9b31m"),
    ("tab\there", "tab\\there"),
    ("\u202egpj.exe", "\\u202egpj.exe"),
    ("a\u2028b", "a\\u2028b"),
    ("\x7f", "\\x7f"),
    ("\ud800", "\\ud800"),
]


@pytest.mark.parametrize("text", SAFE)
def test_text_that_a_terminal_only_shows_stays_as_it_is(text: str) -> None:
    assert is_printable(text)
    assert printable(text) == text


@pytest.mark.parametrize(("text", "written"), ACTING)
def test_what_a_terminal_acts_on_is_written_out(text: str, written: str) -> None:
    assert not is_printable(text)
    assert printable(text) == written
    assert is_printable(printable(text))


def test_a_log_line_cannot_forge_another_one() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(PrintableFormatter("%(levelname)s %(message)s"))
    log = logging.Logger("forged")
    log.addHandler(handler)
    log.warning("refused from %s", "evil\nINFO all is well\x1b[0m")
    assert stream.getvalue() == "WARNING refused from evil\\nINFO all is well\\x1b[0m\n"


def test_a_traceback_keeps_its_lines() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(PrintableFormatter("%(message)s"))
    log = logging.Logger("traceback")
    log.addHandler(handler)
    try:
        raise ValueError("broken")
    except ValueError:
        log.exception("failed")
    assert stream.getvalue().startswith("failed\nTraceback (most recent call last):\n")


def test_class_names_that_act_on_a_terminal_are_refused() -> None:
    fields = Fields({"classes": ["idle", "\x1b[2Jfall\n"]}, "statistics metadata", RemoteError)
    with pytest.raises(RemoteError, match=r"names class '\\x1b\[2Jfall\\n', which holds control characters"):
        read_classes(fields)
    with pytest.raises(DataError, match="cannot become"):
        ClassChanges(rename=(("idle", "a\x1bb"),)).checked(("idle", "walk"), ("idle", "walk"), frozenset())
