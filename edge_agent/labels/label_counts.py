"""Tells what became of the labels in a file that brings nothing else."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import fields

from edge_agent.effects import LabelCounts

log = logging.getLogger("edge-agent")


def log_labels(name: str, counts: LabelCounts, note: Callable[[str, str], None]) -> None:
    """Of the file `name`. note: publishes an event, by name and in words."""
    numbers = {each.name: getattr(counts, each.name) for each in fields(counts)}
    log.info("%s: labels %s", name, ", ".join(f"{what} {count}" for what, count in numbers.items() if count) or "none")
    if counts.unknown:
        problem = f"{name}: {counts.unknown} labels are for windows this device does not remember (horizon_rows)"
        note("labels-unknown", problem + (f"; {counts.early} wait for windows that may come" if counts.early else ""))
    if counts.forgotten:
        note("labels-forgotten", f"{counts.forgotten} labels whose windows never came are forgotten (early_labels_max)")
