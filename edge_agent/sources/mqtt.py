"""Raw rows, or whole windows, from topics of a broker, which may be another one than the fleet's.

Messages that the broker had kept (retained) are as old as may be and are not taken.
"""

from __future__ import annotations

import json
import math
import secrets
import threading
from collections import deque
from collections.abc import Iterator, Sequence

import numpy as np

from edge_agent.source_settings import SourceSettings
from edge_agent.sources.decoding import STRANGE_MESSAGES_MAX, MessageDecoder, RowFormat, columns_of
from edge_agent.sources.ports import Rows
from headway.errors import ConfigError, DataError
from headway.json_values import number_at, number_of
from headway.mqtt import MqttSettings
from headway.ports import Clock, Connected, Disconnected, NotSubscribed, Received, TransportEvent
from headway.stream import StreamFormat

# that wait to be read; a reader that far behind says so, and begins anew
MESSAGES_MAX, MESSAGES_BYTES_MAX = 4096, 8 << 20
PACKET_BYTES_MAX = 4 << 20
NO_ROWS = np.empty(0)


class BrokerTopics:
    """One connection for each call of `rows`, which ends with a DataError when the connection is lost."""

    def __init__(self, settings: SourceSettings, stream: StreamFormat, clock: Clock) -> None:
        if not settings.topics:
            raise ConfigError('source.topics is empty; name the topic of the sensor, ["zigbee2mqtt/kitchen"]')
        self.channels, self.units = columns_of(settings)
        self._format, self._clock = RowFormat.of(settings, stream), clock
        self._topics, self.broker = settings.topics, broker_of(settings)
        if len(self._topics) > 1:
            _check_one_each(self._topics, self._format)
        self._mailbox = _Mailbox()

    def rows(self) -> Iterator[Rows]:
        # paho and ssl are not loaded where no source needs them
        from headway.mqtt.transport import MqttTransport

        self._mailbox.empty()
        client_id = f"headway-{secrets.token_hex(6)}"
        transport = MqttTransport(self.broker, client_id, self._topics, None, self._mailbox.put, self._clock)
        several = len(self._topics) > 1
        reader = _OneEach(self._format, self._topics, self._clock) if several else _Whole(self._format, self._clock)
        strange = 0
        transport.start()
        try:
            while (event := self._mailbox.take()) is not None:
                match event:
                    case Connected():
                        # which is good news for who waits
                        yield Rows(NO_ROWS, np.empty((0, self._format.width - (self._format.time is not None))))
                    case Received(retain=False):
                        try:
                            rows = reader.rows_of(event)
                        except DataError as error:
                            # a bridge tells of itself among its sensors; but nothing else is another format
                            strange += 1
                            if strange >= STRANGE_MESSAGES_MAX:
                                raise DataError(f"{strange} messages one after the other: {error}") from error
                            continue
                        strange = 0
                        yield rows
                    case Disconnected():
                        raise DataError(event.reason)
                    case NotSubscribed():
                        raise DataError(
                            f"the broker refuses topic {event.topic!r}: {event.reason}; let this client read it"
                        )
        finally:
            transport.stop()

    def close(self) -> None:
        """End `rows`, from another thread."""
        self._mailbox.close()


class _Whole:
    """Messages that hold rows each."""

    def __init__(self, rows: RowFormat, clock: Clock) -> None:
        self._decoder = MessageDecoder(rows, clock)

    def rows_of(self, message: Received) -> Rows:
        try:
            return self._decoder.rows_of(message.payload)
        except DataError as error:
            raise DataError(f"topic {message.topic}: {error}") from error


class _OneEach:
    """A topic for each channel. A row for each message: the newest values, as long as they are no older than a gap."""

    def __init__(self, rows: RowFormat, topics: Sequence[str], clock: Clock) -> None:
        self._format, self._clock = rows, clock
        self._places = {topic: place for place, topic in enumerate(topics)}
        self._values = np.full(len(topics), math.nan)
        self._since_s = np.full(len(topics), -math.inf)
        self._last_s = -math.inf

    def rows_of(self, message: Received) -> Rows:
        place, now_s = self._places[message.topic], self._clock.wall_s()
        self._values[place] = self._value(message, place)
        self._since_s[place] = now_s
        if abs(now_s - self._last_s) < 1.0:
            now_s = max(now_s, math.nextafter(self._last_s, math.inf))
        self._last_s = now_s
        fresh = np.abs(now_s - self._since_s) <= self._format.gap_s
        return Rows(np.array([now_s]), np.where(fresh, self._values, math.nan)[None])

    def _value(self, message: Received, place: int) -> float:
        text = message.payload.decode("utf-8", "replace").strip()
        try:
            try:
                found = json.loads(text)
            except ValueError:
                found = text
            return number_at(found, self._format.paths[place]) if isinstance(found, dict) else number_of(found)
        except (ValueError, RecursionError) as error:
            raise DataError(f"topic {message.topic}: {text[:80]!r} is no number; name the topic of a number, or where "
                            "it stands in source.paths") from error  # fmt: skip


class _Mailbox:
    """Events on their way from the network's thread to the source's, a bounded number of them."""

    def __init__(self) -> None:
        self._events: deque[TransportEvent] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self._closed = self._overflowed = False

    def put(self, event: TransportEvent) -> None:
        with self._changed:
            if len(self._events) >= MESSAGES_MAX or self._bytes > MESSAGES_BYTES_MAX:
                self._overflowed = True
                return
            self._events.append(event)
            self._bytes += len(event.payload) if isinstance(event, Received) else 0
            self._changed.notify()

    def take(self) -> TransportEvent | None:
        """Wait for the next one; None when the mailbox is closed. Raises DataError when some are lost."""
        with self._changed:
            self._changed.wait_for(lambda: self._events or self._closed)
            if self._closed:
                return None
            if self._overflowed:
                lost = f"more than {MESSAGES_MAX} messages or {MESSAGES_BYTES_MAX} bytes waited to be read"
                raise DataError(f"{lost}; send less, or several rows in one message")
            event = self._events.popleft()
            self._bytes -= len(event.payload) if isinstance(event, Received) else 0
            return event

    def empty(self) -> None:
        """Begin anew."""
        with self._changed:
            self._events.clear()
            self._bytes, self._overflowed = 0, False

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()


def broker_of(settings: SourceSettings) -> MqttSettings:
    """How a source reaches its broker: nothing waits there while it is away. Raises ConfigError."""
    return MqttSettings(
        host=settings.host or "localhost",
        port=settings.port or (8883 if settings.tls else 1883),
        username=settings.username,
        password_file=settings.password_file,
        tls=settings.tls,
        ca_file=settings.ca_file,
        session_expiry_s=0,
        packet_bytes_max=PACKET_BYTES_MAX,
    )


def _check_one_each(topics: Sequence[str], rows: RowFormat) -> None:
    if rows.whole_windows or rows.time is not None or rows.kind not in ("json", "csv"):
        raise ConfigError("several source.topics hold a value each, as text or JSON; name one topic for whole rows")
    if len(topics) != rows.width or len(set(topics)) != len(topics):
        raise ConfigError(f"source.topics names {len(topics)} topics for {rows.width} channels; name another one for "
                          "each channel, or one for all")  # fmt: skip
    if any(sign in topic for topic in topics for sign in "+#"):
        raise ConfigError("source.topics has + or # among several topics; name each in full")
