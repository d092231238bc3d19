"""Takes labels from the device's topic. While the disk refuses they wait in memory, in order and bounded."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from edge_agent.label_doors.label_files import LabelFiles
from headway.errors import ConfigError, StoreError
from headway.wire import GivenLabels

WAITING_MAX = 1_000


class BrokerLabels:
    """files: where they go. note: publishes an event, by name and in words."""

    def __init__(self, files: LabelFiles, note: Callable[[str, str], None]) -> None:
        self._files, self._note = files, note
        self._waiting: deque[GivenLabels] = deque()

    def receive(self, payload: bytes) -> GivenLabels:
        """A message; what it says is returned. Raises RemoteError when it is malformed."""
        given = GivenLabels.decode(payload)
        self._waiting.append(given)
        self.turn()
        if len(self._waiting) > WAITING_MAX:
            lost = self._waiting.popleft()
            self._note("labels-lost", f"{len(lost.labels)} labels are lost: more than {WAITING_MAX} messages wait")
        return given

    def turn(self) -> None:
        """Go on with what the disk refused."""
        try:
            while self._waiting:
                self._files.write(self._waiting[0])
                self._waiting.popleft()
        except (StoreError, ConfigError) as error:
            self._note("labels-wait", f"{len(self._waiting)} messages with labels wait: {error}")
