"""The table ``[source]``: where raw rows come from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from headway.settings import boolean, choice, integer, lengths, number, optional_path, text, texts
from headway.wire import checked_name

FORMATS = ("csv", "json", "int16", "float32", "uint8", "ppm")
EACH = ("row", "window")
DROPS = ("oldest", "newest")


@dataclass(frozen=True, slots=True)
class SourceSettings:
    """One source of raw rows, beside the spool folder."""

    kind: str = text(
        "command",
        length_max=64,
        doc='"command": what a program prints; "stdin": what is piped into the agent; "serial": a serial port; '
        '"iio": a sensor of Linux IIO, read at rate_hz; "mqtt": topics of a broker; "http": POST /rows on '
        "127.0.0.1; or the name of an entry point in the group headway.sources.",
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
        doc='"csv": a line of numbers per row; "json": a line with an object per row; "int16", "float32", "uint8": raw '
        'little-endian numbers, channel by channel; "ppm": pictures in PGM or PPM, whole windows.',
    )
    each: str = choice(
        "row",
        EACH,
        doc='What a line, a message or a frame is: "row", of which the bundle cuts windows; "window", a whole window.',
    )
    shape: tuple[int, ...] = lengths(
        doc="Shape of a whole window as it comes, compared with the bundle's at the start; none: the bundle's."
    )
    channels: tuple[str, ...] = texts(
        (),
        doc="Names of the channels as they come, by which they are put into the bundle's order; none: the bundle's, in "
        "its order. Of json: keys, with dots into objects within.",
    )
    paths: tuple[str, ...] = texts(
        (), doc="Of json: where each channel stands, with dots into objects within; none: its name says so."
    )
    units: tuple[str, ...] = texts((), doc="Units of the channels as they come; none: the bundle's.")
    time: str = text(
        "", doc="The one of the channels that holds the time in seconds; empty: raw numbers come at rate_hz, lines too "
        "if it is given, and else each line has the time at which it comes."
    )  # fmt: skip
    rate_hz: float = number(0.0, low=0, high=1e6, doc="Rows per second, of lines and raw numbers; 0: raw numbers "
                            "come at the bundle's, lines when they come.")  # fmt: skip
    topics: tuple[str, ...] = texts(
        (),
        length_max=1024,
        doc="Of mqtt: one topic (+ and # as usual) whose messages hold rows, or one for each channel, whose messages "
        "hold its value.",
        example=("zigbee2mqtt/kitchen",),
    )
    host: str = text("", doc="Broker of mqtt; empty: that of [mqtt], with all it says there.", example="localhost")
    port: int = integer(
        0, high=65_535, doc="Its port; 0: 1883, or 8883 with TLS. Of http: a free port of this machine, on 127.0.0.1."
    )
    username: str = text("", doc="Name to log in to it with; empty for none.", example="reader")
    password_file: Path | None = optional_path(
        doc="File that holds the password; needs username.", example="/etc/headway/source.password"
    )
    tls: bool = boolean(False, doc="Use TLS; its certificate and name are always checked.", example=True)
    ca_file: Path | None = optional_path(
        doc="PEM file of the authority that signed its certificate; empty for those of the system.",
        example="/etc/headway/home-ca.pem",
    )
    token_file: Path | None = optional_path(
        doc="Of http: file with the token that requests must give.", example="/etc/headway/source.token"
    )
    buffer: bool = boolean(
        False, doc="Of iio: read the device's buffer instead of single values, for rates above some tens of Hz."
    )
    trigger: str = text("", doc="Of an iio buffer: the trigger that it needs; empty: it has one, or needs none.",
                        example="lis3dh-dev0")  # fmt: skip
    windows_max: int = integer(256, low=1, high=1 << 20, doc="Windows that may wait to be answered.")
    bytes_max: int = integer(32 << 20, low=1024, doc="Bytes that they may take, as float32; one may always wait.")
    drop: str = choice("oldest", DROPS, doc="Which window is dropped, and counted, when more come.")

    def __post_init__(self) -> None:
        checked_name(self.name, "source.name")
