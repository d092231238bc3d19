"""Settings of where answers go beside the files in predictions_dir, and of where labels come from beside the spool."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from headway.errors import ConfigError
from headway.settings import boolean, choice, integer, number, optional_path, text

NO_SMOOTHING, MAJORITY, HYSTERESIS, MINIMUM_DURATION = "none", "majority", "hysteresis", "minimum-duration"

PREFIX = re.compile(r"[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*")


@dataclass(frozen=True, slots=True)
class AnswerSettings:
    """Everything is off until it is asked for. Raises ConfigError for limits that contradict each other."""

    mqtt: bool = boolean(False, doc="Publish each answer as JSON on the topic answers of this device; needs [mqtt].")
    mqtt_qos: int = integer(
        1, high=1, doc="Quality of service of these messages; the aggregator's are sent with 1 whatever this says."
    )
    mqtt_labels: bool = boolean(
        False,
        doc="Take labels from the topic labels of this device: whoever may publish there teaches it; needs [mqtt].",
    )
    home_assistant: bool = boolean(
        False,
        doc="Announce this device to Home Assistant by MQTT discovery, and publish the topic summary for it; with "
        "mqtt_labels it may be labelled there, too; needs [mqtt].",
    )
    home_assistant_prefix: str = text(
        "homeassistant",
        length_max=128,
        doc="Topic under which Home Assistant looks for devices (its discovery prefix).",
    )
    queue_max: int = integer(
        1_000,
        low=1,
        high=1 << 20,
        doc="Answers that may wait for a slow reader or broker; beyond it the oldest are dropped and counted.",
    )
    outputs_max: int = integer(
        64, low=1, high=4096, doc="Classes, the most probable ones, whose probabilities an answer holds."
    )
    file: Path | None = optional_path(
        doc="File to which each answer is added as a line of JSON.", example="/var/lib/headway/answers.jsonl"
    )
    file_bytes_max: int = integer(
        16 << 20, low=4096, doc="Bytes after which the file is renamed to FILE.1, the one before to FILE.2, and so on."
    )
    files_max: int = integer(4, low=1, high=1000, doc="Renamed files that are kept; beyond it the oldest is deleted.")
    socket: Path | None = optional_path(
        doc="Unix socket that gives each answer as a line of JSON, and takes labels as lines; for owner and group.",
        example="/run/headway/answers.sock",
    )
    socket_readers_max: int = integer(8, low=1, high=256, doc="Readers that the socket serves at once.")
    http_port: int = integer(
        0, high=65_535, doc="Port on 127.0.0.1 for GET /answers and POST /labels; 0: none; needs http_token_file."
    )
    http_token_file: Path | None = optional_path(
        doc="File that holds the token which every request must bring, of at least 16 characters.",
        example="/etc/headway/answers.token",
    )
    smoothing: str = choice(
        NO_SMOOTHING,
        (NO_SMOOTHING, MAJORITY, HYSTERESIS, MINIMUM_DURATION),
        doc="Give a class smoothed over time beside the answer: the most frequent of the last smoothing_windows "
        '("majority"), the one before until another is sure ("hysteresis"), or until another has lasted for '
        'smoothing_windows answers ("minimum-duration"). What is learned never changes by it.',
    )
    smoothing_windows: int = integer(5, low=1, high=10_000, doc="Answers that smoothing looks back over.")
    smoothing_enter: float = number(
        0.7, low=0.0, high=1.0, unit="(a probability)",
        doc='"hysteresis": how probable another class must be to take over.',
    )  # fmt: skip
    smoothing_leave: float = number(
        0.5, low=0.0, high=1.0, unit="(a probability)",
        doc='"hysteresis": a class stays while it is at least this probable.',
    )  # fmt: skip

    def __post_init__(self) -> None:
        if not PREFIX.fullmatch(self.home_assistant_prefix):
            raise ConfigError(
                f"home_assistant_prefix {self.home_assistant_prefix!r} is no topic; give levels of letters, digits, "
                "'.', '_' or '-' with '/' between them, such as homeassistant"
            )
        if self.http_port and self.http_token_file is None:
            raise ConfigError(
                "http_port needs http_token_file: without it any page in a browser could teach the device"
            )
        if self.smoothing_leave > self.smoothing_enter:
            raise ConfigError(
                f"smoothing_leave {self.smoothing_leave:g} is above smoothing_enter {self.smoothing_enter:g}; "
                "a class would be left before another may take over: give a lower one"
            )

    def http_token(self) -> str:
        """Raises ConfigError when its file cannot be read."""
        if self.http_token_file is None:
            raise ConfigError("http_token_file is not set; give a file with a token")
        try:
            return self.http_token_file.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot read http_token_file {self.http_token_file}: {error}") from error
