"""Resident memory of an agent as it runs in a fleet: TLS to a broker, signed bundle, idle and then learning.

    python -m benchmarks.resident [--minutes N] [--rate R] [--bundle FILE --key FILE --data FILE] [--python FILE]
                                  [--installed]

A real ``edge-agent run`` with client certificates on a mosquitto with TLS. It idles for the first half of the time and
for the second half gets windows at the given rate, one file in three with its label. With --installed it runs in an
environment as `edge-agent install` and the Debian package make it, else in the one of its interpreter. Read from /proc:
the time from exec to READY and to the first answer, MB (10^6 bytes) after each half, and the most that was ever
resident (VmHWM).
"""

from __future__ import annotations

import argparse
import compileall
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from benchmarks.interpreters import ROOT, machine
from benchmarks.models import SHAPES, trained
from converter import Options, convert
from converter.keys import generate_key
from converter.sources import QUIET
from headway.arrays import AnyArray
from testbed.broker import Broker
from testbed.certificates import Authority

PROGRAM = ("-m", "edge_agent.cli", "run")
INSTALL = """
import sys
from pathlib import Path
from edge_agent.combinations import fitting_runtime, installed_runtimes
from edge_agent.installing.system import Machine, needed_distributions, replace_environment
libraries = needed_distributions(fitting_runtime(installed_runtimes()))
replace_environment(Machine(Path(sys.argv[1])), Path(sys._base_executable).resolve(), libraries)
"""
SHAPE = "1D-CNN BatchNorm Dropout"
DEVICE, FLEET = "resident", "test"
LABELLED_EVERY = 3
WAIT_S, LOOK_S = 60.0, 0.002


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.resident", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long it runs (default 10)")
    parser.add_argument("--rate", type=float, default=3.0, help="files per second in the second half (default 3)")
    parser.add_argument("--bundle", type=Path, help="a signed bundle instead of the small convolutional network")
    parser.add_argument("--key", type=Path, help="the public key of --bundle")
    parser.add_argument("--data", type=Path, help=".npz with its windows x and labels y")
    parser.add_argument("--python", default=sys.executable, help="interpreter of the agent (default this one)")
    parser.add_argument("--installed", action="store_true", help="as edge-agent install makes its environment")
    options = parser.parse_args(arguments)
    os.environ.update(QUIET)
    for room in ("headway", "edge_agent"):
        compileall.compile_dir(ROOT / room, quiet=2)
    with tempfile.TemporaryDirectory(prefix="headway-resident-") as name:
        folder = Path(name)
        if options.bundle is None:
            bundle, key, windows, labels = small_bundle(folder)
        else:
            bundle, key, data = options.bundle.absolute(), options.key.absolute(), np.load(options.data)
            windows, labels = data["x"], data["y"]
        command = installed(folder, options.python) if options.installed else (options.python,)
        with online_agent(folder, bundle, key, (*command, *PROGRAM)) as (pid, began_s):
            print(f"{machine()}; agent on {options.python}{', installed' if options.installed else ''}")
            print(f"exec to READY             {time.perf_counter() - began_s:6.2f} s")
            drop(folder, "first", windows[:1], None)
            print(f"exec to the first answer  {time.perf_counter() - began_s:6.2f} s", flush=True)
            time.sleep(options.minutes * 30)
            print(_figures("idle", pid), flush=True)
            _feed(folder, windows, labels, options.minutes * 30, options.rate)
            print(_figures("learning", pid))
    return 0


def installed(folder: Path, python: str) -> tuple[str, ...]:
    """What runs Python in an environment that is installed below `folder`, from what `python` finds."""
    root = folder / "root"
    (root / "opt").mkdir(parents=True)
    subprocess.run([python, "-c", INSTALL, str(root)], check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    return str(root / "opt" / "headway" / "bin" / "python3"), "-I"


def small_bundle(folder: Path) -> tuple[Path, Path, AnyArray, AnyArray]:
    """A signed bundle, its public key, windows and labels."""
    shape = SHAPES[SHAPE]
    model, x, y = trained(shape)
    generate_key(folder / "signing.pem")
    options = Options(formats=("tflite",), key=folder / "signing.pem")
    convert(model, (x, y, shape.class_names), options, out=folder / "watch.hwb")
    return folder / "watch.hwb", folder / "signing.pem.pub", *shape.draw(1_000, 5)


@contextmanager
def online_agent(folder: Path, bundle: Path, key: Path, command: Sequence[str]) -> Iterator[tuple[int, float]]:
    """Process id of an agent that is READY and has a broker; when it was started.

    command: what runs it, up to the path of its agent.toml.
    """
    authority = Authority(folder)
    (server, server_key), (client, client_key) = authority.issue("server"), authority.issue(DEVICE)
    files = f"cafile {authority.ca_file}\ncertfile {server}\nkeyfile {server_key}\nrequire_certificate true\n"
    with Broker(extra=files) as broker, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
        (folder / "agent.toml").write_text(
            f'[device]\nid = "{DEVICE}"\nfleet = "{FLEET}"\n[bundle]\npath = "{bundle}"\npublic_key = "{key}"\n'
            f'[storage]\nstate_dir = "state"\n[mqtt]\nhost = "{broker.host}"\nport = {broker.port}\ntls = true\n'
            f'ca_file = "{authority.ca_file}"\ncert_file = "{client}"\nkey_file = "{client_key}"\n'
        )
        (folder / "spool").mkdir()
        ready.bind(str(folder / "notify"))
        ready.settimeout(WAIT_S)
        began_s = time.perf_counter()
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [*command, str(folder / "agent.toml")],
                cwd=ROOT,
                env={**os.environ, "NOTIFY_SOCKET": str(folder / "notify"), "PYTHONPATH": str(ROOT)},
                stderr=log,
            )
        try:
            while b"READY=1" not in ready.recv(4096):
                continue
            yield process.pid, began_s
            if f"as {FLEET}.{DEVICE}" not in broker.log():
                raise SystemExit(f"error: the agent never was online: {(folder / 'log').read_text()[-500:]}")
        except TimeoutError:
            raise SystemExit(f"error: the agent did not start: {(folder / 'log').read_text()[-500:]}") from None
        finally:
            process.kill()
            process.wait()


def _feed(folder: Path, windows: AnyArray, labels: AnyArray, duration_s: float, rate: float) -> None:
    end_s, number = time.perf_counter() + duration_s, 0
    while (began_s := time.perf_counter()) < end_s:
        row = slice(number % len(windows), number % len(windows) + 1)
        drop(folder, str(number), windows[row], None if number % LABELLED_EVERY else labels[row])
        number += 1
        time.sleep(max(0.0, began_s + 1 / rate - time.perf_counter()))


def drop(folder: Path, name: str, x: AnyArray, y: AnyArray | None) -> None:
    """Put a file into the spool and await its answer."""
    if y is None:
        np.savez(folder / "waiting.npz", x=x)
    else:
        np.savez(folder / "waiting.npz", x=x, y=y)
    (folder / "waiting.npz").rename(folder / "spool" / f"{name}.npz")
    answer, end_s = folder / "predictions" / f"{name}.npz", time.perf_counter() + WAIT_S
    while not answer.exists():
        if time.perf_counter() > end_s:
            raise SystemExit(f"error: no answer: {(folder / 'log').read_text()[-500:]}")
        time.sleep(LOOK_S)


def _figures(phase: str, pid: int) -> str:
    resident, own, most = (megabytes(pid, name) for name in ("VmRSS", "RssAnon", "VmHWM"))
    return f"{phase:<25} {resident:6.1f} MB, {own:.1f} of them written by it alone; {most:.1f} at most so far"


def megabytes(pid: int, name: str) -> float:
    """A figure of /proc/PID/status, in 10^6 bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024 / 1e6


if __name__ == "__main__":
    sys.exit(main())
