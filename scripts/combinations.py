"""Writes docs/reference/combinations.md: which Python, runtime and system go together, from what the agent checks.

    make combinations

`python -m scripts.combinations --check` says whether the page is what it writes.
"""

from __future__ import annotations

import sys
from pathlib import Path

from edge_agent.combinations import MACHINES, Combination

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "combinations.md"
# Raspberry Pi OS of the same number has the same Python and C library
SYSTEMS = {
    "Debian 12, Raspberry Pi OS (bookworm)": (3, 11),
    "an environment of Python 3.12": (3, 12),
    "Debian 13, Raspberry Pi OS (trixie)": (3, 13),
}
NUMPY = {"ai-edge-litert": "2.4", "onnxruntime": "2.4", "tflite-runtime": "1.26"}
X86 = "x86_64"
ARM = "aarch64"
PACKAGE = "the Debian package in its tree (`make slow`) and with its own systemd (`make system-test`)"
SUITE = "the device's tests (`make matrix`)"
# what a command ran, and which
RUN = {
    ((3, 11), X86, "ai-edge-litert"): f"{PACKAGE}, {SUITE}",
    ((3, 13), X86, "ai-edge-litert"): f"{PACKAGE}, {SUITE}",
    ((3, 11), X86, "onnxruntime"): SUITE,
    ((3, 11), X86, "tflite-runtime"): f"conversion and proof of the backbone (`make tflite-env`, `make test`), {SUITE}",
    ((3, 11), ARM, "ai-edge-litert"): "the Debian package in an emulated machine (`make powercut`, `make system-test`)",
}
HEAD = """\
# What goes together

Written by `make combinations` from what `edge-agent` itself checks when it is installed and started. "run" names what
was run here, on x86-64 and, for aarch64, in a machine that QEMU emulates on it: there was no board. "wheels" means that
all wheels exist and nothing is known against it, and that no test ran. 32-bit ARM (`armv7l`) has tflite-runtime alone,
and so Python 3.11 alone. How many tests passed in which environment: [environments.md](environments.md).

| system | machine | runtime | works |
|---|---|---|---|
"""


def page() -> str:
    """The whole page."""
    rows = []
    for system, python in SYSTEMS.items():
        for machine in (X86, ARM, "armv7l"):
            for runtime in MACHINES:
                problem = Combination(python, machine, runtime, NUMPY[runtime]).problem()
                run = RUN.get((python, machine, runtime))
                word = f"no: {problem}" if problem else f"run: {run}" if run else "wheels"
                rows.append(f"| {system} | {machine} | {runtime} | {word} |")
    return HEAD + "\n".join(rows) + "\n"


def main() -> None:
    if "--check" in sys.argv[1:]:
        if PAGE.read_text(encoding="utf-8") != page():
            sys.exit(f"{PAGE.name} is not what make combinations writes")
        return
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)


if __name__ == "__main__":
    main()
