"""The page of combinations says what the agent checks."""

from __future__ import annotations

from scripts.combinations import PAGE, RUN, page


def test_the_page_is_what_the_command_writes() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: make combinations"


def test_what_was_run_is_held_to_work() -> None:
    assert page().count("| run: ") == len(RUN)
