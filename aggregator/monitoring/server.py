"""Answers scrapes: ``GET /metrics``, and nothing else. Bounded in connections and in how long each may take."""

from __future__ import annotations

import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from headway.bounded_http import BoundedHTTPServer
from headway.deadlines import ended_after
from headway.errors import ConfigError

CONNECTIONS_MAX = 8
CONNECTION_MAX_S = 10.0
# how long stopping may take
POLL_S = 0.1


class MetricsServer:
    """Listens at once; answers between `start` and `stop`. Raises ConfigError where nobody can listen there.

    connection_max_s: after so long a scrape is ended, however slowly its reader takes it.
    """

    def __init__(
        self, registry: CollectorRegistry, host: str, port: int, connection_max_s: float = CONNECTION_MAX_S
    ) -> None:
        try:
            self._server = BoundedHTTPServer((host, port), _handler(registry, connection_max_s), CONNECTIONS_MAX)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ConfigError(f"cannot listen on {host}:{port} of [metrics]: {reason}; give another port") from error
        self._thread = threading.Thread(target=self._server.serve_forever, args=(POLL_S,), name="metrics", daemon=True)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        if self._thread.is_alive():
            self._server.shutdown()
        self._server.server_close()


def _handler(registry: CollectorRegistry, connection_max_s: float) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = connection_max_s
        server_version = "headway"
        sys_version = ""

        def handle(self) -> None:
            with ended_after(self.connection, connection_max_s):
                super().handle()

        def do_GET(self) -> None:
            if self.path.partition("?")[0] != "/metrics":
                self.send_error(HTTPStatus.NOT_FOUND, "only /metrics is here")
                return
            body = generate_latest(registry)
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", CONTENT_TYPE_LATEST)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *values: Any) -> None:
            """Each scrape would be a line."""

    return Handler
