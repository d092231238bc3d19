"""Bounds how long a connection may take as a whole: a peer that sends a byte now and then never times out by itself."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def ended_after(connection: socket.socket, timeout_s: float) -> Iterator[None]:
    """End a connection after so long, whatever comes over it.

    Raises TimeoutError then, also where what was read until the end looked whole.
    """
    done, over = threading.Event(), threading.Event()

    def end() -> None:
        if not done.wait(timeout_s):
            over.set()
            # below TLS, whose state belongs to the thread that reads; a connection that is gone needs no end
            with suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)

    threading.Thread(target=end, name="timeout", daemon=True).start()
    try:
        yield
    except OSError as error:
        raise (TimeoutError() if over.is_set() else error) from error
    finally:
        done.set()
    if over.is_set():
        raise TimeoutError
