"""Raw rows, or whole windows, over HTTP on loopback, from programs on the device that prove to know a token.

POST /rows   a body as a message of mqtt: JSON, lines of CSV, or raw numbers; 503 while too many wait
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path

from edge_agent.source_settings import SourceSettings
from edge_agent.sources.decoding import MessageDecoder, RowFormat, columns_of
from edge_agent.sources.ports import Rows
from headway.bounded_http import LOOPBACK, TOKEN_CHARACTERS_MIN, BoundedHTTPServer, LoopbackHandler, refusal
from headway.credentials import readable_copy
from headway.deadlines import ended_after
from headway.errors import ConfigError, DataError
from headway.fields import canonical_json
from headway.ports import Clock
from headway.stream import StreamFormat

CONNECTIONS_MAX = 16
# of one connection that says nothing; and of a request, however slowly it comes
IDLE_S, REQUEST_S = 10.0, 30.0
BODY_BYTES_MAX = 4 << 20
# numbers that wait to be cut into windows
WAITING_NUMBERS_MAX = 1 << 20
PATH = "/rows"


class HttpRows:
    """port: on 127.0.0.1. Raises ConfigError for a token that is missing or too short."""

    def __init__(self, settings: SourceSettings, stream: StreamFormat, clock: Clock) -> None:
        if not settings.port:
            raise ConfigError("source.port is 0; give a free port of this machine, for example 8089")
        self.channels, self.units = columns_of(settings)
        self._format, self._clock, self._port = RowFormat.of(settings, stream), clock, settings.port
        self._token = _token(settings.token_file)
        self._waiting: deque[Rows] = deque()
        self._numbers = 0
        self._changed = threading.Condition()
        self._closed = False

    def rows(self) -> Iterator[Rows]:
        decoder, lock = MessageDecoder(self._format, self._clock), threading.Lock()

        def take(payload: bytes) -> int | None:
            """How many rows; None when there is no room. Raises DataError."""
            with lock:  # times grow in the order in which rows are put
                if self._numbers > WAITING_NUMBERS_MAX:
                    return None
                rows = decoder.rows_of(payload)
                self._put(rows)
                return len(rows.times_s)

        try:
            server = BoundedHTTPServer((LOOPBACK, self._port), _handler(self._token, take), CONNECTIONS_MAX)
        except OSError as error:
            problem = f"cannot listen on {LOOPBACK}:{self._port}: {error.strerror or error}; give another source.port"
            raise DataError(problem) from error
        thread = threading.Thread(target=server.serve_forever, name="source http", daemon=True)
        thread.start()
        try:
            while (rows := self._take()) is not None:
                yield rows
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def close(self) -> None:
        """End `rows`, from another thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _put(self, rows: Rows) -> None:
        with self._changed:
            self._waiting.append(rows)
            self._numbers += rows.values.size
            self._changed.notify()

    def _take(self) -> Rows | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            if self._closed:
                return None
            rows = self._waiting.popleft()
            self._numbers -= rows.values.size
            return rows


def _token(file: Path | None) -> bytes:
    if file is None:
        raise ConfigError("source.token_file is not set: without a token any page in a browser could give rows; "
                          "openssl rand -hex 32 makes one")  # fmt: skip
    try:
        token = readable_copy(file.absolute()).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"source.token_file {file}: {getattr(error, 'strerror', None) or error}") from error
    if len(token) < TOKEN_CHARACTERS_MIN:
        raise ConfigError(f"the token in {file} has {len(token)} characters; give at least {TOKEN_CHARACTERS_MIN}, for "
                          "example from: openssl rand -hex 32")  # fmt: skip
    return token.encode()


def _handler(token: bytes, take: Callable[[bytes], int | None]) -> type[LoopbackHandler]:
    class Handler(LoopbackHandler):
        """One request."""

        timeout = IDLE_S

        def handle_one_request(self) -> None:
            with ended_after(self.connection, REQUEST_S):
                super().handle_one_request()

        def do_POST(self) -> None:
            refused = refusal(self.headers, token, "source.token_file")
            if refused is not None:
                self.refuse(*refused)
            elif self.path != PATH:
                self.refuse(HTTPStatus.NOT_FOUND, f"there is POST {PATH}")
            elif (size := self.body_size(BODY_BYTES_MAX)) is not None:
                self._take(self.rfile.read(size))

        def _take(self, payload: bytes) -> None:
            try:
                count = take(payload)
            except DataError as error:
                self.refuse(HTTPStatus.BAD_REQUEST, str(error))
                return
            if count is None:
                self.refuse(HTTPStatus.SERVICE_UNAVAILABLE, "too many rows wait; send them again in a second")
            else:
                self.reply(HTTPStatus.ACCEPTED, canonical_json({"accepted": count}))

    return Handler
