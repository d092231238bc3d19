"""Hears the signals that ask a program to end, from its start to its end.

There is one `StopRequest` in a process. It is made before anything else, and handed on to whatever runs next, so that a
signal is heard also while a program opens its store, starts again with another bundle, or says goodbye.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType

# SIGHUP says that a terminal is gone, or asks to read the configuration again. A clean end is right for both: systemd
# starts the program anew, and that reads it
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# they mean nothing here, and the system would end the program without a last commit. Handled, not ignored: what is
# ignored stays so in the programs that this one starts
MEANINGLESS_SIGNALS = (signal.SIGUSR1, signal.SIGUSR2)


class StopRequest:
    """Whether somebody wants this program to end. Once asked for, it stays so.

    A signal handler runs between any two steps of the main thread, also inside a handler of the signal before. So this
    sets one plain attribute, which nothing ever takes back, and takes no lock.
    """

    def __init__(self) -> None:
        self._requested = False
        self._wake: Callable[[], object] | None = None

    @classmethod
    def on_signals(cls) -> StopRequest:
        """Asked for by SIGTERM, SIGINT or SIGHUP, from now on; not by SIGUSR1 and SIGUSR2. Call it in the main thread.

        A SIGHUP that is ignored, as nohup has it, stays so.
        """
        stop = cls()
        for number in STOP_SIGNALS:
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, stop._heard)
        for number in MEANINGLESS_SIGNALS:
            signal.signal(number, _unheard)
        return stop

    @property
    def requested(self) -> bool:
        """Look at it wherever work can end."""
        return self._requested

    def request(self) -> None:
        """Ask the program to end."""
        self._requested = True
        if self._wake is not None:
            self._wake()

    def wake_with(self, wake: Callable[[], object]) -> None:
        """Who waits for events is woken by this, in place of whoever waited before; fit for a signal handler.

        Look at `requested` after this call and before each wait: an earlier request wakes nobody.
        """
        self._wake = wake

    def _heard(self, number: int, frame: FrameType | None) -> None:
        self.request()


def _unheard(number: int, frame: FrameType | None) -> None:
    """The program goes on."""
