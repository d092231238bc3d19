"""Implements `edge-fleet join-server`: HTTPS with a certificate of the fleet's own authority."""

from __future__ import annotations

import uvicorn

from aggregator.config import Settings
from aggregator.enrolment.authority import FOLDER, Role, write_private
from aggregator.enrolment.endpoint import join_application
from aggregator.operations.enrolment import opened
from headway.errors import TransportError
from headway.joining import JOIN_SERVER
from headway.ports import Clock

IDENTITY = "join-server.pem"
SERVER_DAYS = 825


def serve_joins(settings: Settings, clock: Clock) -> int:
    """Serve until told to stop; returns the exit code. Raises TransportError when the address cannot be had."""
    enrolment, authority = opened(settings, clock)
    # a new one at each start; devices know the authority, and this name in it
    key, issued = authority.issue_with_key(JOIN_SERVER, Role.SERVER, clock.wall_s(), SERVER_DAYS)
    identity = settings.state_dir / FOLDER / IDENTITY
    write_private(identity, key + issued.pem)
    listen, port = settings.enrolment.listen, settings.enrolment.port
    server = uvicorn.Server(
        uvicorn.Config(
            join_application(enrolment, authority.pem, clock), host=listen, port=port, ssl_certfile=identity,
            ssl_keyfile=identity, log_level="warning", access_log=False, server_header=False, limit_concurrency=256,
        )
    )  # fmt: skip
    print(f"devices join at https://{listen}:{port}", flush=True)
    try:
        server.run()
    except SystemExit as error:
        # uvicorn leaves so when it cannot listen; its own log line says why
        raise TransportError(f"cannot listen on {listen}:{port}; set another port in [enrolment]") from error
    return 0
