"""Settings of how a device asks people for labels, through the aggregator."""

from __future__ import annotations

from dataclasses import dataclass

from headway.settings import boolean, integer, number
from headway.wire import SKETCH_BYTES_MAX, WANTED_WINDOWS_MAX


@dataclass(frozen=True, slots=True)
class LabelsWantedSettings:
    """How many windows, how often, and what of them leaves the device."""

    windows_max: int = integer(
        16,
        high=WANTED_WINDOWS_MAX,
        remote=True,
        doc="Windows without a label of which the device tells the aggregator, the least certain ones, so that people "
        "can label them there (edge-fleet inbox): name, time, probabilities and the nearest labelled window; 0: none.",
    )
    interval_s: float = number(
        900.0,
        low=1.0,
        high=7 * 86_400,
        remote=True,
        doc="Seconds between two such messages, which are sent when the list has changed; a message that was not sent "
        "is made up for, three at most.",
    )
    send_windows: bool = boolean(
        False,
        doc="Send a sketch of each of these windows, too: the raw signal, made small and coarse. Without it no raw "
        "data leaves the device.",
    )
    sketch_bytes: int = integer(256, low=16, high=SKETCH_BYTES_MAX, doc="Most bytes of one sketch.")
