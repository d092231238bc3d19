"""Serves answers, and takes labels, over HTTP on loopback, for programs on the device that prove to know a token.

GET /answers?after=SEQUENCE.ROW   the newest answers, or those after one, up to 1 MiB at a time
POST /labels                      one label or several, as on the topic of labels
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from http import HTTPStatus
from itertools import accumulate
from urllib.parse import parse_qs, urlsplit

from edge_agent.answers.ports import Given
from headway.bounded_http import LOOPBACK, TOKEN_CHARACTERS_MIN, BoundedHTTPServer, LoopbackHandler, refusal
from headway.deadlines import ended_after
from headway.errors import ConfigError, DataError, HeadwayError
from headway.fields import canonical_json

CONNECTIONS_MAX = 16
# of one connection that says nothing; and of any, however slowly it says something
IDLE_S, CONNECTION_S = 10.0, 30.0
BODY_BYTES_MAX, REPLY_BYTES_MAX = 128 << 10, 1 << 20


class HttpAnswers:
    """An `AnswerSink`. token: what requests must know; kept: answers that can be asked for; label: as for `UnixSocket`.

    port: 0 for any that is free; connection_s: after which a connection is ended, whatever it does. Raises ConfigError
    for a token that is too short, and when the port cannot be had.
    """

    def __init__(
        self, port: int, token: str, kept: int, label: Callable[[bytes], str], connection_s: float = CONNECTION_S
    ) -> None:
        if len(token) < TOKEN_CHARACTERS_MIN:
            raise ConfigError(
                f"the token in http_token_file has {len(token)} characters; give at least {TOKEN_CHARACTERS_MIN}, "
                "for example from: openssl rand -hex 32"
            )
        self.dropped, self.problem = 0, ""
        self._kept: deque[Given] = deque(maxlen=kept)
        self._lock = threading.Lock()
        self.token, self.label, self.connection_s = token.encode(), label, connection_s
        try:
            self._server = BoundedHTTPServer((LOOPBACK, port), _handler(self), CONNECTIONS_MAX)
        except OSError as error:
            problem = f"cannot listen on {LOOPBACK}:{port}: {error.strerror or error}; give another http_port"
            raise ConfigError(problem) from error
        self._thread = threading.Thread(target=self._server.serve_forever, name="answers http", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    def take(self, answers: Sequence[Given], *, again: bool) -> None:
        with self._lock:
            self._kept.extend(answers)

    def turn(self) -> None:
        return

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def newest(self, after: tuple[int, int]) -> bytes:
        """Those after a place that are kept, oldest first, as a JSON object; more: whether others follow these."""
        with self._lock:
            waiting = [given.payload for given in self._kept if given.place > after]
        sizes = accumulate(len(payload) + 1 for payload in waiting)
        found = waiting[: max(1, sum(size <= REPLY_BYTES_MAX for size in sizes))]
        more = b"true" if len(found) < len(waiting) else b"false"
        return b'{"answers":[' + b",".join(found) + b'],"more":' + more + b"}"


def _handler(sink: HttpAnswers) -> type[LoopbackHandler]:
    class Handler(LoopbackHandler):
        """One request."""

        timeout = IDLE_S

        def handle(self) -> None:
            with ended_after(self.connection, sink.connection_s):
                super().handle()

        def do_GET(self) -> None:
            self._guarded(self._answers, "/answers")

        def do_POST(self) -> None:
            self._guarded(self._labels, "/labels")

        def _guarded(self, serve: Callable[[], None], path: str) -> None:
            refused = refusal(self.headers, sink.token, "http_token_file")
            if refused is not None:
                self.refuse(*refused)
            elif urlsplit(self.path).path != path:
                self.refuse(HTTPStatus.NOT_FOUND, "there are GET /answers and POST /labels")
            else:
                serve()

        def _answers(self) -> None:
            words = parse_qs(urlsplit(self.path).query).get("after", ["0.0"])[0].split(".")
            if len(words) != 2 or not all(word.isascii() and word.isdigit() and len(word) < 17 for word in words):
                self.refuse(HTTPStatus.BAD_REQUEST, "after must be SEQUENCE.ROW of an answer, such as 41.4")
                return
            self.reply(HTTPStatus.OK, sink.newest((int(words[0]), int(words[1]))))

        def _labels(self) -> None:
            size = self.body_size(BODY_BYTES_MAX)
            if size is None:
                return
            if self.headers.get_content_type() != "application/json":
                self.refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "give Content-Type: application/json")
                return
            try:
                name = sink.label(self.rfile.read(size))
            except DataError as error:
                self.refuse(HTTPStatus.BAD_REQUEST, str(error))
            except HeadwayError as error:
                self.refuse(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
            else:
                self.reply(HTTPStatus.ACCEPTED, canonical_json({"accepted": name}))

    return Handler
