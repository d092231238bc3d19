"""Notes which retained topics this device has made, on the disk before it makes one: a retained message outlives the
agent that sent it, so what is not noted could never be taken back.
"""

from __future__ import annotations

from pathlib import Path

from headway.durable import read_regular, write_durably
from headway.errors import StoreError
from headway.fields import Fields, canonical_json, parse_json

FILE = "home-assistant.json"
TOPICS_MAX = 256


class Announced:
    """Topics of one state folder. Raises StoreError when what is noted there cannot be read."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / FILE
        self._topics = _read(self._file)

    @property
    def topics(self) -> tuple[str, ...]:
        """Retained by the broker, as far as is known."""
        return self._topics

    def add(self, topics: tuple[str, ...]) -> None:
        """They are about to be made. Raises StoreError."""
        new = tuple(name for name in topics if name not in self._topics)
        if new:
            self._write((*self._topics, *new)[-TOPICS_MAX:])

    def gone(self, topic: str) -> None:
        """The broker has confirmed that it retains nothing there. Raises StoreError."""
        if topic in self._topics:
            self._write(tuple(name for name in self._topics if name != topic))

    def _write(self, topics: tuple[str, ...]) -> None:
        try:
            if topics:
                write_durably(self._file, canonical_json({"topics": list(topics)}))
            else:
                self._file.unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"cannot write {self._file}: {error.strerror or error}") from error
        self._topics = topics


def _read(file: Path) -> tuple[str, ...]:
    try:
        payload = read_regular(file)
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise StoreError(f"cannot read {file}: {error.strerror or error}") from error
    fields = Fields(parse_json(payload, file.name, StoreError), file.name, StoreError)
    topics = fields.strings("topics", count_max=TOPICS_MAX)
    fields.finish()
    return topics
