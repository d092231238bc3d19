"""The table ``[source]``: where raw rows come from."""

from __future__ import annotations

from dataclasses import dataclass

from headway.settings import choice, integer, number, text, texts
from headway.wire import checked_name

FORMATS = ("csv", "json", "int16", "float32")
DROPS = ("oldest", "newest")


@dataclass(frozen=True, slots=True)
class SourceSettings:
    """One source of raw rows, beside the spool folder."""

    kind: str = text(
        "command",
        length_max=64,
        doc='"command": what a program prints; "stdin": what is piped into the agent; "serial": a serial port; '
        '"iio": a sensor of Linux IIO, read at rate_hz; or the name of an entry point in the group headway.sources.',
    )
    name: str = text("stream", length_max=64, doc="Begins the ids of its windows and the names of its answers.")
    command: tuple[str, ...] = texts(
        (), length_max=4096, doc="Program and arguments, run without a shell and started again when it ends."
    )
    path: str = text(
        "",
        length_max=4096,
        doc='The serial port, "/dev/ttyUSB0"; of iio the name of the device, or its folder in /sys.',
    )
    baud: int = integer(115_200, low=50, high=4_000_000, doc="Speed of the serial port, bits per second.")
    format: str = choice(
        "csv",
        FORMATS,
        doc='"csv": a line of numbers per row; "json": a line with an object per row; "int16", "float32": raw '
        "little-endian numbers, channel by channel.",
    )
    channels: tuple[str, ...] = texts(
        (),
        doc="Names of the channels as they come, by which they are put into the bundle's order; none: the bundle's, in "
        "its order. Of json: keys, with dots into objects within.",
    )
    units: tuple[str, ...] = texts((), doc="Units of the channels as they come; none: the bundle's.")
    time: str = text(
        "", doc="The one of the channels that holds the time in seconds; empty: lines have the time at which they "
        "come, raw numbers come at rate_hz."
    )  # fmt: skip
    rate_hz: float = number(0.0, low=0, high=1e6, doc="Rows per second of raw numbers; 0: the bundle's.")
    windows_max: int = integer(256, low=1, high=1 << 20, doc="Windows that may wait to be answered.")
    drop: str = choice("oldest", DROPS, doc="Which window is dropped, and counted, when more come.")

    def __post_init__(self) -> None:
        checked_name(self.name, "source.name")
