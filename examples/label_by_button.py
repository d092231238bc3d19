"""A button on a GPIO pin of a Raspberry Pi that says what the newest window was.

    pip install gpiozero lgpio
    python label_by_button.py answers.sock leak 17

While the machine leaks, press: the newest window that the device answered is learned as `leak`. Needs `[answers]
socket` and windows with an id. Stops when the agent does.
"""

from __future__ import annotations

import json
import socket
import sys

from gpiozero import Button


def main(path: str, label: str, pin: int) -> None:
    newest = ""
    with socket.socket(socket.AF_UNIX) as device:
        device.connect(path)
        lines = device.makefile("rw")

        def say() -> None:
            if newest:
                print(json.dumps({"id": newest, "label": label}), file=lines, flush=True)

        button = Button(pin, bounce_time=0.05)
        button.when_pressed = say
        for message in map(json.loads, lines):
            newest = message.get("id") or newest
            print(message.get("accepted") or message.get("problem") or f"{newest}: {message['label']}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
