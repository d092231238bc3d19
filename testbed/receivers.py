"""Receivers of alerts on loopback that answer as they are told to: a web address, and a mail relay with STARTTLS."""

from __future__ import annotations

import contextlib
import email
import email.message
import email.policy
import queue
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[[BaseHTTPRequestHandler], None]


@dataclass(frozen=True)
class Posted:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes


def status(code: int, body: bytes = b"", **headers: str) -> Answer:
    """Answer with a status."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def hang(until: threading.Event) -> Answer:
    """Answer nothing until the event."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        until.wait(30.0)

    return answer


def drip(until: threading.Event) -> Answer:
    """A header now and then, for ever: no single read ever times out."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        with contextlib.suppress(OSError):
            while not until.wait(0.05):
                handler.wfile.write(b"x: y\r\n")
                handler.wfile.flush()

    return answer


class WebhookReceiver:
    """Takes what is posted. script: the next answers, in order; then 204."""

    def __init__(self) -> None:
        self.posted: list[Posted] = []
        self.script: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.posted.append(Posted(self.path, dict(self.headers), body))
                try:
                    answer = receiver.script.get_nowait()
                except queue.Empty:
                    answer = status(204)
                with contextlib.suppress(OSError):
                    answer(self)

            def log_message(self, format: str, *values: Any) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/alerts?token=t0psecret"

    def __enter__(self) -> WebhookReceiver:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@dataclass
class MailRelay:
    """Takes mails, one connection at a time. tls: what it turns to TLS with, None: it does not offer that."""

    tls: ssl.SSLContext | None = None
    refused: str = ""
    mails: list[email.message.Message] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)
    port: int = 0

    @contextlib.contextmanager
    def running(self) -> Iterator[MailRelay]:
        with socket.create_server(("127.0.0.1", 0)) as server:
            self.port = server.getsockname()[1]
            thread = threading.Thread(target=self._serve, args=(server,), daemon=True)
            thread.start()
            yield self
            server.shutdown(socket.SHUT_RDWR)
            thread.join()

    def _serve(self, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = server.accept()
                with contextlib.suppress(OSError):
                    self._talk(connection)
                connection.close()

    def _talk(self, connection: socket.socket) -> None:
        connection.sendall(b"220 relay\r\n")
        lines = connection.makefile("rb")
        while line := lines.readline():
            word = line.split()[0].upper() if line.split() else b""
            if word == b"EHLO":
                offers = b"250-relay\r\n" + (b"250-STARTTLS\r\n" if self.tls else b"") + b"250 AUTH PLAIN\r\n"
                connection.sendall(offers)
            elif word == b"STARTTLS" and self.tls is not None:
                connection.sendall(b"220 go ahead\r\n")
                connection = self.tls.wrap_socket(connection, server_side=True)
                lines = connection.makefile("rb")
            elif word == b"AUTH":
                self.logins.append(line.split()[2].decode())
                connection.sendall(b"235 welcome\r\n")
            elif word == b"DATA":
                connection.sendall(b"354 go on\r\n")
                text = b""
                while (part := lines.readline()) not in (b".\r\n", b""):
                    text += part
                self.mails.append(email.message_from_bytes(text, policy=email.policy.default))
                connection.sendall(b"250 taken\r\n")
            elif word == b"RCPT" and self.refused and self.refused.encode() in line:
                connection.sendall(b"550 nobody of that name\r\n")
            elif word == b"QUIT":
                connection.sendall(b"221 bye\r\n")
                return
            else:
                connection.sendall(b"250 ok\r\n")
