"""Which arrays of a file are read, and what misnamed ones should be called.

An array that is overlooked because of its name is lost without a word: labels would never be learned.
"""

from __future__ import annotations

from collections.abc import Sequence

from headway.class_changes import CHANGES
from headway.errors import DataError, listed

WINDOWS, LABELS, IDS, CLASSES = "x", "y", "id", "classes"
# instead of ids: from when to when a label holds
FROM, TO = SPAN = "from", "to"
# what people call the arrays, in small letters and digits
ALIKE = {
    WINDOWS: frozenset({"x", "xs", "data", "input", "inputs", "samples", "signal", "signals", "window", "windows"}),
    LABELS: frozenset({"y", "ys", "ytrue", "ytrain", "ytest", "truth", "gt", "annotation", "annotations", "activity"}),
    IDS: frozenset({"id", "ids", "key", "keys", "uuid", "uuids", "windowid", "windowids", "sampleid", "sampleids"}),
}
# labels have many names, often with more behind them: label_id, targets, class_index, categories
LABEL_BEGINNINGS = ("label", "target", "class", "groundtruth", "categor")


def members_to_read(where: str, names: Sequence[str], *, label_files: bool) -> frozenset[str]:
    """Of the arrays of a file called `where`. label_files: it may bring labels for earlier windows, or changes of
    classes. Raises DataError when it lacks what it must have, or calls it something else.
    """
    there = frozenset(names)
    changes = there & set(CHANGES) if label_files else frozenset()
    arrays = there & {WINDOWS, LABELS, IDS}
    if changes and not arrays:
        return changes
    if label_files and WINDOWS not in there and there & set(SPAN):
        return _span_members(where, there)
    for name in ALIKE:
        alike = [] if name in there else [given for given in names if is_alike(given, name)]
        if alike:
            raise DataError(f"{where} holds {listed(there)}; did you mean {name!r} by {alike[0][:40]!r}?")
    if WINDOWS not in there and not (label_files and {IDS, LABELS} <= there):
        held = listed(there) if there else "nothing"
        raise DataError(f"{where} holds {held}; it needs an array 'x' of windows")
    if changes:
        raise DataError(f"{where} holds {listed(there)}; changes of classes come in a file of their own")
    return arrays | ({CLASSES} & there if LABELS in there else frozenset())


def _span_members(where: str, there: frozenset[str]) -> frozenset[str]:
    if not {*SPAN, LABELS} <= there or IDS in there:
        held = listed(there)
        raise DataError(f"{where} holds {held}; a label for a span of time has 'from', 'to' and 'y', and no 'id'")
    return frozenset({*SPAN, LABELS})


def is_alike(given: str, name: str) -> bool:
    """Whether people may call the array `name` like this."""
    plain = "".join(letter for letter in given.rpartition("/")[2].lower() if letter.isalnum())
    return plain in ALIKE[name] or (name == LABELS and plain.startswith(LABEL_BEGINNINGS))
