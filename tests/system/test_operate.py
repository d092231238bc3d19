"""docs/operate.md leads from nothing to a rolled-out second bundle: its commands, in its order, on real programs.

A comment before a block says how it is run; systemd and apt are the test's own business. Paths, ports and names of the
page are replaced by those of a folder; `CODE` by what `enroll` printed, `pump-N` by each device's name.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from headway.bundle import read_variant
from testbed.broker import die_with_parent, free_port
from testbed.mosquitto import find_or_fetch
from tests.project.files import ROOT
from tests.system.commands import in_this_process
from tests.system.conftest import BIN, wait_until
from tests.system.make_model import data

pytestmark = [pytest.mark.system, pytest.mark.broker]
PAGE = (ROOT / "docs" / "operate.md").read_text()
STEP = re.compile(r"<!-- (?P<how>.+?) -->(?:\s*```(?:sh|toml)\n(?P<block>.*?)```)?", re.DOTALL)
# so that a test need not wait as long as a fleet may
HASTE = "\n[delivery]\ntrial_s = 1.0\nanswer_timeout_s = 2\n[remote]\ntrial_s = 1.0\n"
LABELS = 12


class Operator:
    """Does what the page says, with `count` devices. as_processes: also commands that only look into the store."""

    def __init__(self, folder: Path, bundle: Path, count: int, as_processes: bool) -> None:
        self.as_processes = as_processes
        self.folder, self.bundle = folder, bundle
        self.devices = [f"pump-{number}" for number in range(1, count + 1)]
        self.ports = {port: str(free_port()) for port in ("8883", "8884", "8885")}
        self.code = ""
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        for made in ("server", *self.devices):
            (folder / made / "etc").mkdir(parents=True)
            (folder / made / "in").mkdir()

    def here(self, text: str, machine: str = "server") -> str:
        """The page's words, with the places of this test."""
        place = self.folder / machine
        words = {
            "/etc/headway-broker": self.folder / "broker", "/etc/headway": place / "etc", "server.example": "localhost",
            "/var/lib/headway-aggregator": self.folder / "state", "/var/spool/headway/in": place / "in",
            "/var/spool/headway/predictions": place / "predictions", "/var/lib/edge-agent": place / "state",
            "pump-N": machine, "CODE": self.code, "model-2.hwb": self.folder / "model-2.hwb", **self.ports,
        }  # fmt: skip
        pattern = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
        return re.sub(pattern, lambda found: str(words[found[0]]), text)

    def run(self, line: str, machine: str = "server") -> subprocess.CompletedProcess[str]:
        words = shlex.split(self.here(line, machine))
        if words[1] == "broker-config":
            # no root in this test, or one whose folders the broker's own user may not look into
            words += [
                "--user",
                "root" if os.geteuid() == 0 else "mosquitto",
                "--persistence",
                str(self.folder / "data"),
            ]
        if words[0] == "edge-fleet" and not self.as_processes:
            return in_this_process(words, self.folder / machine)
        if words[0].startswith("edge-"):
            words[0] = str(BIN / words[0])
        return subprocess.run(words, capture_output=True, text=True, timeout=120, cwd=self.folder / machine)

    def must(self, line: str, machine: str = "server") -> str:
        done = self.run(line, machine)
        assert done.returncode == 0, (line, done.stderr)
        return done.stdout

    def start(self, what: str) -> None:
        config = str(self.folder / "server" / "etc" / "aggregator.toml")
        environment = dict(os.environ)
        if what == "mosquitto":
            mosquitto = find_or_fetch()
            command, environment = [str(mosquitto.program), "-c", str(self.folder / "broker" / "mosquitto.conf")], {}
            environment = mosquitto.environment()
        elif what == "the agents":
            for machine in self.devices:
                toml = self.folder / machine / "etc" / "agent.toml"
                toml.write_text(self.here(toml.read_text(), machine) + HASTE)
                self._begin(machine, [str(BIN / "edge-agent"), "run", str(toml)], environment)
            return
        else:
            command = [sys.executable, "-m", "aggregator.cli", what, "--config", config]
        self._begin(what, command, environment)
        if what == "join-server":
            wait_until(lambda: b"devices join at" in self.log(what), "the join server")
        if what == "api":
            wait_until(lambda: b"the API answers at" in self.log(what), "the API")
        if what == "serve":
            wait_until(lambda: b"connected to the broker" in self.log(what), "the aggregator's connection")

    def _begin(self, name: str, command: list[str], environment: dict[str, str]) -> None:
        with (self.folder / f"{name}.log").open("wb") as log:
            self.running[name] = subprocess.Popen(
                command, stdout=log, stderr=log, env=environment, preexec_fn=die_with_parent
            )

    def log(self, name: str) -> bytes:
        return (self.folder / f"{name}.log").read_bytes()

    def stop(self, what: str) -> None:
        process = self.running.pop(what)
        process.send_signal(signal.SIGTERM)
        process.wait(60)

    def do(self, how: str, block: str) -> None:
        """One step of the page."""
        kind, _, rest = how.partition(" ")
        lines = [line for line in block.splitlines() if line]
        if kind == "file":
            Path(self.here(rest)).write_text(self.settings(self.here(block)))
        elif how == "run on each device":
            with ThreadPoolExecutor(4) as pool:
                list(pool.map(lambda machine: [self.must(line, machine) for line in lines], self.devices))
        elif kind in ("run", "run,"):
            said = [self.must(line) for line in lines]
            self.code = said[0].strip() if "CODE" in how else self.code
            if "the file" in how:
                (self.folder / "server" / rest.split()[-1]).write_text(said[0])
        elif kind == "until":
            self.until(rest.strip('"'), lines)
        elif kind in ("start", "stop"):
            getattr(self, kind)(rest)
        else:
            raise AssertionError(f"nobody knows how to {how}")

    def settings(self, text: str) -> str:
        """The page's, and what a test cannot do without: it has no systemd that could reload the broker."""
        if "[enrolment]" not in text:
            return text
        mosquitto = self.folder / "mosquitto.pid"
        reload = f'broker_reload = ["sh", "-c", "kill -HUP $(cat {mosquitto})"]\nlisten = "127.0.0.1"\n'
        return text + reload

    def until(self, wanted: str, lines: list[str]) -> None:
        """online, labels: every device is there, has learned; else the word stands in what the last line prints."""

        def there() -> bool:
            said = [self.run(line).stdout for line in lines][0 if wanted == "online" else -1]
            if wanted in ("online", "labels"):
                return all(re.search(rf"^{device} ", said, re.MULTILINE) for device in self.devices)
            return wanted in said

        try:
            wait_until(there, f"{wanted!r} of {lines[-1]}")
        except BaseException:
            print(self.run(lines[-1]), self.log("serve").decode()[-2000:], self.log("pump-1").decode()[-2000:])
            raise


@pytest.fixture
def operator(bundle: Path, request: pytest.FixtureRequest) -> Iterator[Operator]:
    with tempfile.TemporaryDirectory(prefix="headway-operate-") as made:
        folder = Path(made)
        folder.chmod(0o755)
        operator = Operator(folder, bundle, request.param, as_processes=request.param > 2)
        x, y = data(LABELS, seed=5)
        classes = np.array(read_variant(bundle).classes)
        for machine in ("server", *operator.devices):
            (folder / machine / "model.hwb").write_bytes(bundle.read_bytes())
            np.savez(folder / machine / "first.npz", x=x, y=classes[y])
        (folder / "server" / "etc" / "model.hwb").write_bytes(bundle.read_bytes())
        replace(read_variant(bundle), release=2, version="2.0.0").write(folder / "model-2.hwb")
        yield operator
        for process in operator.running.values():
            process.kill()
            process.wait()


@pytest.mark.parametrize(
    "operator", [2, pytest.param(10, marks=pytest.mark.slow)], indirect=True, ids="{} devices".format
)
def test_the_page_leads_from_nothing_to_a_second_bundle_on_every_device(operator: Operator) -> None:
    steps = [(found["how"], found["block"] or "") for found in STEP.finditer(PAGE)]
    assert len(steps) >= 25
    for how, block in steps:
        operator.do(how, block)
        if how == "start mosquitto":
            (operator.folder / "mosquitto.pid").write_text(str(operator.running["mosquitto"].pid))
    said = operator.must("edge-fleet devices --json --config /etc/headway/aggregator.toml")
    rest = [device for device in operator.devices if device != "pump-1"]
    assert all(re.search(f'"device": ?"{device}"', said) for device in rest)


def test_every_command_of_the_page_is_run() -> None:
    run = {line for found in STEP.finditer(PAGE) for line in (found["block"] or "").splitlines()}
    shown = re.findall(r"^edge-.*$", PAGE, re.MULTILINE)
    assert len(shown) >= 45
    assert [line for line in shown if line not in run] == []
