"""Serves an application over TCP in a thread of the test."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from testbed.broker import free_port


class _Server(uvicorn.Server):
    """Says when it answers."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.answers = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.answers.set()

    def end(self) -> None:
        self.should_exit = True


@contextmanager
def served(application: ASGIApp, port: int = 0) -> Iterator[str]:
    """Its address, until the block ends. port: 0 for any that is free."""
    port = port or free_port()
    server = _Server(uvicorn.Config(application, port=port, log_level="warning", proxy_headers=False))
    thread = threading.Thread(target=server.run)
    thread.start()
    assert server.answers.wait(20)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.end()
        thread.join(20)
