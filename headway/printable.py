"""Text from outside made safe for a terminal and a log: whatever a device sends, one line stays one line.

Names, reasons and errors come from files and from devices. Printed as they are, an escape sequence in one of them could
clear an operator's screen, forge lines or change the window's title. Every character that a terminal acts on instead of
showing it is written as Python would write it: controls (C0, C1, delete), line and paragraph separators, and the marks
that change the direction of text, which reorder what is read (Boucher & Anderson, Trojan Source, 2021).
"""

from __future__ import annotations

import unicodedata

# Unicode categories: control, format (direction marks among them), line and paragraph separator, surrogate
ACTS = frozenset({"Cc", "Cf", "Zl", "Zp", "Cs"})


def is_printable(text: str) -> bool:
    """Whether a terminal only shows this text. A zero-width joiner, which some scripts need, counts as shown."""
    return (text.isascii() and text.isprintable()) or not any(map(_acts, text))


def printable(text: str) -> str:
    """The same text in one line, with what a terminal would act on written out."""
    if is_printable(text):
        return text
    return "".join(_written(character) if _acts(character) else character for character in text)


def printable_lines(text: str) -> str:
    """The same for text of several lines that this program has put together itself."""
    if text.isascii() and text.replace("\n", "").isprintable():
        return text  # the usual case, also of a list of 10,000 devices
    return "\n".join(map(printable, text.split("\n")))


def _acts(character: str) -> bool:
    return unicodedata.category(character) in ACTS and character not in "\u200c\u200d"


def _written(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
