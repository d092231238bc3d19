"""What the connection's socket is told, and what it is kept from, whichever library drives it."""

from __future__ import annotations

import socket
from typing import Any


def leave_writing_to_the_loop(client: Any, _: Any, connection: Any) -> None:
    """Without such a callback paho writes to the socket from whichever thread publishes, unlocked beside its own loop:
    two packets can interleave. With one it leaves writing to the loop, which it wakes by itself."""


def send_at_once(client: Any, _: Any, connection: Any) -> None:
    """Small packets wait 40 ms for each other otherwise (Nagle's algorithm against delayed acknowledgements)."""
    # a WebSocket of paho's is no socket; options belong to the connection, which a duplicate shares
    with socket.fromfd(connection.fileno(), socket.AF_INET, socket.SOCK_STREAM) as same:
        same.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
