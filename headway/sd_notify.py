"""Reports a daemon's state to systemd: sd_notify in pure Python, silent where there is no systemd.

The protocol is one datagram of ``KEY=value`` lines to the Unix socket named by NOTIFY_SOCKET; a leading ``@``
stands for the zero byte of an abstract socket. Source: sd_notify(3), sd_watchdog_enabled(3).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from headway.errors import ConfigError

# for what is said once
SEND_S = 5.0


@dataclass(frozen=True, slots=True)
class SystemdNotifier:
    """Where to send notifications; an empty `address` makes every method a no-op.

    watchdog_s: how long systemd waits for a sign of progress before it restarts us; 0 without a watchdog.
    Raises ConfigError when an address is set but nobody listens there.
    """

    address: str = ""
    watchdog_s: float = 0.0

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> SystemdNotifier:
        """Read NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID as systemd sets them."""
        address = environment.get("NOTIFY_SOCKET", "")
        if address and address[0] not in "/@":
            raise ConfigError(f"NOTIFY_SOCKET {address!r} is neither a path nor an abstract socket ('@name')")
        return cls(address, _watchdog_s(environment))

    @property
    def feed_interval_s(self) -> float:
        """How often `progress` should be called: a third of the watchdog's patience; infinite without one."""
        return self.watchdog_s / 3 if self.watchdog_s else float("inf")

    def ready(self, status: str = "") -> None:
        """Start-up is finished; units ordered after this one may start."""
        self._send("READY=1", f"STATUS={_one_line(status)}")

    def status(self, text: str) -> None:
        """The one line that ``systemctl status`` shows. Dropped where nobody reads: work must not wait for it."""
        self._send(f"STATUS={_one_line(text)}", wait_s=0.0)

    def progress(self) -> None:
        """Feed the watchdog. Call it from the loop that does the work, never from a thread of its own. Not awaited."""
        if self.watchdog_s:
            self._send("WATCHDOG=1", wait_s=0.0)

    def stopping(self, status: str = "") -> None:
        """Shutting down on purpose."""
        self._send("STOPPING=1", f"STATUS={_one_line(status)}")

    def _send(self, *lines: str, wait_s: float = SEND_S) -> None:
        if not self.address:
            return
        target = "\0" + self.address[1:] if self.address[0] == "@" else self.address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as connection:
                connection.settimeout(wait_s)
                connection.connect(target)
                connection.send("\n".join(lines).encode())
        except (BlockingIOError, TimeoutError):
            return  # its queue is full: whoever reads it hangs, and need not take us with it
        except OSError as error:
            raise ConfigError(f"NOTIFY_SOCKET {self.address!r}: {error.strerror or error}") from error


def _watchdog_s(environment: Mapping[str, str]) -> float:
    """Seconds of the watchdog meant for this process; a child inherits the variables but not the duty."""
    duration_us, process = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    if not duration_us or (process and process != str(os.getpid())):
        return 0.0
    if not duration_us.isdecimal():
        raise ConfigError(f"WATCHDOG_USEC {duration_us!r} is not a number of microseconds")
    return int(duration_us) / 1e6


def _one_line(text: str) -> str:
    return " ".join(text.split())
