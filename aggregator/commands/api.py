"""Implements `edge-fleet api`: API and page of a fleet on uvicorn, in a process of its own."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager

import uvicorn

from aggregator.access import ApiSettings
from aggregator.api import clean_up
from aggregator.config import Settings
from aggregator.registry import backfill
from aggregator.store.sql import SqlStore
from aggregator.web import Web, create_web
from headway.errors import ConfigError, TransportError
from headway.ports import Clock
from headway.sd_notify import SystemdNotifier
from headway.stopping import StopRequest

# each may hold a body of a mebibyte before anybody has asked for its token
CONNECTIONS_MAX = 128
KEEP_ALIVE_S, GRACE_S = 15, 10


def serve_api(settings: Settings, clock: Clock) -> int:
    """Serve until told to stop; returns the exit code.

    Raises ConfigError for an address beyond this machine without TLS or a proxy, StoreError for a database that cannot
    be opened, TransportError when the address cannot be had.
    """
    chosen = settings.api
    if chosen.exposed:
        raise ConfigError(
            f"listen in [api] is {chosen.listen!r}, where tokens would travel in the clear; set cert_file and "
            "key_file, or trusted_proxies, or listen on 127.0.0.1"
        )
    stop = StopRequest.on_signals()
    with closing(SqlStore(settings.database)) as first, first.transaction():
        backfill(first)
    clean_up(settings)
    application = create_web(settings, lambda: SqlStore(settings.database), clock).prepared()
    server = _Server(
        uvicorn.Config(
            application, host=chosen.listen, port=chosen.port, ssl_certfile=_text(chosen.cert_file),
            ssl_keyfile=_text(chosen.key_file), log_level="warning", access_log=False, server_header=False,
            proxy_headers=False,  # whom to believe about addresses is said in [api]
            limit_concurrency=CONNECTIONS_MAX, timeout_keep_alive=KEEP_ALIVE_S, timeout_graceful_shutdown=GRACE_S,
        ),
        _greeting(chosen),
        stop,
        application,
    )  # fmt: skip
    try:
        server.run()
    except SystemExit as error:
        # uvicorn leaves so when it cannot listen; its own log line says why
        raise TransportError(f"cannot listen on {chosen.listen}:{chosen.port}; set another port in [api]") from error
    return 0


class _Server(uvicorn.Server):
    """Says when it answers, and ends as our other programs do: told to stop, it leaves with 0."""

    def __init__(self, config: uvicorn.Config, greeting: str, stop: StopRequest, web: Web) -> None:
        super().__init__(config)
        self._greeting, self._stop, self._web = greeting, stop, web

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        self._stop.wake_with(self._end)
        self.should_exit = self._stop.requested
        yield

    def _end(self) -> None:
        self.should_exit = True
        self._web.close()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            SystemdNotifier.from_environment().ready("answering")
            print(self._greeting, flush=True)


def _greeting(chosen: ApiSettings) -> str:
    """The first line is the API's address, which programs read."""
    host = f"[{chosen.listen}]" if ":" in chosen.listen else chosen.listen
    address = f"http{'s' if chosen.cert_file else ''}://{host}:{chosen.port}"
    return f"the API answers at {address}\nthe page is at {address}/"


def _text(path: object) -> str | None:
    return None if path is None else str(path)
