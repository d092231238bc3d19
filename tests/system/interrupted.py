"""``python -m tests.system.interrupted STEP agent.toml``: edge-agent that gets SIGTERM before and after a step.

STEP: module:object.attribute, or module:attribute.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from functools import reduce
from typing import Any

from edge_agent.cli import main


def interrupt(step: str) -> None:
    """The process sends the signal to itself, so that it arrives at this very place."""
    module, _, path = step.partition(":")
    *owners, name = path.split(".")
    owner = reduce(getattr, owners, importlib.import_module(module))
    method = getattr(owner, name)

    def call(*arguments: Any, **named: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        result = method(*arguments, **named)
        os.kill(os.getpid(), signal.SIGTERM)
        return result

    setattr(owner, name, call)


if __name__ == "__main__":
    interrupt(sys.argv[1])
    sys.exit(main(["--log-level", "warning", "run", sys.argv[2]]))
