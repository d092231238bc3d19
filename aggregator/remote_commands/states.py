"""The states of a command on the server; `headway.wire.RESULT_STATES` are those in which it ends."""

from __future__ import annotations

# written by whoever asks; taken up by the running service
ASKED = "asked"
SENT = "sent"
OPEN = (ASKED, SENT)
