"""Implements `edge-fleet join-server`: HTTPS with a certificate of the fleet's own authority."""

from __future__ import annotations

import asyncio

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from aggregator.commands.place import until_the_end
from aggregator.config import Settings
from aggregator.enrolment.authority import FOLDER, Role, write_private
from aggregator.enrolment.endpoint import join_application
from aggregator.operations.enrolment import opened
from aggregator.store.sql import SqlStore
from headway.errors import TransportError
from headway.joining import JOIN_SERVER
from headway.ports import Clock

IDENTITY = "join-server.pem"
SERVER_DAYS = 825
# a join takes a second; a connection that lasts longer only takes the place of another
CONNECTION_S, CONNECTIONS_MAX = 30.0, 256
SHUTDOWN_S = 5


class BriefConnection(H11Protocol):
    """A connection that ends after `CONNECTION_S`, whatever its other end sends, or does not send."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._end = self.loop.call_later(CONNECTION_S, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end.cancel()
        super().connection_lost(exc)


def serve_joins(settings: Settings, clock: Clock) -> int:
    """Serve until told to stop; returns the exit code. Raises TransportError when the address cannot be had."""
    enrolment, authority = opened(settings, clock, lambda: until_the_end(SqlStore(settings.database)))
    # a new one at each start; devices know the authority, and this name in it
    key, issued = authority.issue_with_key(JOIN_SERVER, Role.SERVER, clock.wall_s(), SERVER_DAYS)
    identity = settings.state_dir / FOLDER / IDENTITY
    write_private(identity, key + issued.pem)
    listen, port = settings.enrolment.listen, settings.enrolment.port
    server = uvicorn.Server(
        uvicorn.Config(
            join_application(enrolment, authority.pem, clock), host=listen, port=port, ssl_certfile=identity,
            ssl_keyfile=identity, log_level="warning", access_log=False, server_header=False,
            limit_concurrency=CONNECTIONS_MAX, http=BriefConnection, timeout_graceful_shutdown=SHUTDOWN_S,
        )
    )  # fmt: skip
    print(f"devices join at https://{listen}:{port}", flush=True)
    try:
        server.run()
    except SystemExit as error:
        # uvicorn leaves so when it cannot listen; its own log line says why
        raise TransportError(f"cannot listen on {listen}:{port}; set another port in [enrolment]") from error
    return 0
