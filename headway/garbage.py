"""Spares a command that soon ends the looks for garbage among what it loads."""

from __future__ import annotations

import atexit
import gc

# objects between two looks: nearly all of those that loading a command makes stay until it ends
GARBAGE_AFTER = 20_000


def seldom_look_for_garbage() -> None:
    """Call it before anything large is loaded. What the end of the process frees is not looked through either."""
    gc.set_threshold(GARBAGE_AFTER)
    atexit.register(gc.freeze)
