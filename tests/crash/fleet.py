"""Real processes that are killed, copied, set back and corrected, one at a time."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_agent.pipeline import Pipeline
from edge_agent.runtime import open_runtime
from headway.bundle import read_variant
from headway.maths import Statistics, fleet_head, merge
from headway.wire import PublishedHead, StatisticsReport
from tests.crash.api import Api
from tests.crash.branch import BIN, CONFIG, Branch, Given
from tests.crash.joining import Joining
from tests.crash.operator import Operator
from tests.crash.rolling import Rolling
from tests.crash.shortfall import Shortfall
from tests.crash.site import Site
from tests.system.make_model import CLASSES, data

ROWS_A_FILE = 4
PAUSE_S = (0.02, 0.7)
SETTLE_TIMEOUT_S = 180.0
# of one device: itself and copies of it
BRANCHES_MAX = 3
# of a hundred faults
KINDS = {
    "kill": 65, "live copy": 4, "cold copy": 4, "backup": 4, "restore": 4, "correction": 4, "command": 4, "setting": 3,
    "act": 3, "rollout": 5,
}  # fmt: skip
# of a fault, to begin a join, a renewal or a revocation where none is under way
JOINING_CHANCE = 0.2
AGENT_TOML = """\
[device]
id = "{name}"
fleet = "crash"
[bundle]
path = "{bundle}"
[storage]
state_dir = "state"
[sensor]
poll_interval_s = 0.05
[sync]
interval_s = 0.2
ack_timeout_s = 2
whole_bytes_max = 0
[remote]
trial_s = 0
[delivery]
trial_s = 0.2
answer_timeout_s = 1
starts_max = 100
[trial]
report_interval_s = 0.2
window_s_max = 60
[mqtt]
host = "localhost"
port = {port}
reconnect_max_s = 0.5
tls = true
ca_file = "ca.pem"
cert_file = "identity.pem"
key_file = "identity.pem"
"""


@dataclass(frozen=True)
class Report:
    """What the run came to."""

    labels: int
    faults: Counter[str]
    branches: int
    rollouts: Counter[str]
    joining: Counter[str]
    devices: int

    def __str__(self) -> str:
        faults = _listed(self.faults)
        return (
            f"{sum(self.faults.values())} faults ({faults}), {self.branches} branches: {self.labels} labels, 0 lost, "
            "0 double, fleet head bit-identical to one solved in one place; rollouts "
            f"({_listed(self.rollouts)}): the last one confirmed by {self.devices} of {self.devices} devices; "
            f"enrolment ({_listed(self.joining)}): no certificate lost, double or half-issued"
        )


class CrashFleet:
    """A context manager; every process it started is gone afterwards."""

    def __init__(self, folder: Path, devices: int, seed: int) -> None:
        self._folder, self._random, self._seed = folder, random.Random(seed), seed
        self._names = [f"d{number}" for number in range(devices)]
        self._branches: list[Branch] = []
        # of branches that were replaced by older ones, once all they had learned was acknowledged
        self._replaced: list[Branch] = []
        self._backups: list[tuple[Branch, Path]] = []
        self._faults: Counter[str] = Counter()
        self._files = self._folders = 0
        self._unlabelled: list[Given] = []
        self._api: Api | None = None
        self._stack = contextlib.ExitStack()

    @property
    def labels(self) -> int:
        """Labels handed to the agents so far."""
        return sum(len(given.y) for branch in (*self._branches, *self._replaced) for given in branch.given)

    def __enter__(self) -> CrashFleet:
        with contextlib.ExitStack() as stack:
            bundle = make_bundle(self._folder)
            self._variant = read_variant(bundle)
            self._pipeline = Pipeline(self._variant, open_runtime(self._variant))
            training = self._variant.training_statistics
            self._site = stack.enter_context(Site(self._folder, bundle))
            # this device has no copies: which of them did what it was told would be a matter of chance
            self._operator = Operator(self._site, self._names[-1])
            self._rolling = Rolling(self._site, bundle, self._random)
            self._joining = Joining(self._site, self._random)
            self._site.await_join_server()
            stack.callback(self._stop)
            for name in self._names:
                (self._folder / name / "spool").mkdir(parents=True)
                text = AGENT_TOML.format(name=name, bundle=bundle, port=self._site.broker.port)
                (self._folder / name / CONFIG).write_text(text)
                self._site.join(name, self._folder / name)
                self._joining.note(name, self._folder / name)
                nothing = Statistics.zeros(training.size, training.classes, training.space)
                self._branches.append(Branch(name, self._folder / name, nothing))
                self._branches[-1].run()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def one_fault(self, kind: str | None = None) -> None:
        """Hand labels out, wait a random moment, and let something happen. kind: of KINDS, by lot by default."""
        self._feed_some()
        time.sleep(self._random.uniform(*PAUSE_S))
        self._site.revive_broker()
        self._joining.step()
        if self._random.random() < JOINING_CHANCE:
            self._joining.begin({branch.folder: branch.device for branch in self._branches})
        for branch in self._branches:
            if branch.process is not None and branch.process.poll() is not None:
                raise Shortfall(f"{branch.name} ended by itself, code {branch.process.returncode}:\n{branch.log()}")
        kind = kind or self._random.choices(list(KINDS), list(KINDS.values()))[0]
        branch = self._random.choice(self._branches)
        happened = {
            "kill": self._kill,
            "live copy": self._copy_live,
            "cold copy": self._copy_cold,
            "backup": self._back_up,
            "restore": self._restore,
            "correction": self._correct,
            "command": self._command,
            "setting": self._set,
            "act": self._act,
            "rollout": self._roll_out,
        }[kind](branch)
        if happened:
            self._faults[kind] += 1
        else:
            self._kill(branch)
            self._faults["kill"] += 1

    def settle(self) -> Report:
        """Wait until everything is learned, sent and stored; compare with the truth. Raises Shortfall."""
        self._joining.settle()
        self._stop_copies()
        self._rolling.settle(self._names, self._feed_some)
        every = [*self._branches, *self._replaced]
        own = {branch.name: branch.own(self._variant, self._pipeline) for branch in every}
        whole = merge(list(own.values()))
        self._await_the_operators_end()
        self._let_all_speak()
        differs = [
            *self._rolling.problems(self._branches, self._names),
            *self._joining.problems({branch.folder: branch.device for branch in self._branches}),
        ]
        if differs:
            raise Shortfall("\n  ".join(["what devices and store say is not the same:", *differs]))
        try:
            self._await_head(whole.samples)
        except Shortfall as shortfall:
            raise Shortfall("\n  ".join([str(shortfall), *self._differences(every, own)])) from None
        self._stop()
        if self._api is not None and (problem := self._api.problem()):
            raise Shortfall(problem)
        head = self._head()
        if head is None or head.samples != whole.samples:
            raise Shortfall(f"the fleet counts {head and head.samples} of {whole.samples} labels")
        for branch in self._branches:
            if branch.learned(self._variant) != branch.start + own[branch.name]:
                raise Shortfall(f"{branch.name} has not learned exactly what it was given")
        stored = self._stored()
        for name in self._names:
            given = merge([own[branch.name] for branch in every if branch.device == name])
            if given.samples and not stored[name].same_sums(given):
                counts = f"stored {stored[name].counts.tolist()}, given {given.counts.tolist()} of each class"
                raise Shortfall(f"the aggregator's tables of {name} are not what it was given: {counts}")
        wanted = fleet_head(self._variant.training_statistics, whole)
        if head.head.kernel.tobytes() + head.head.bias.tobytes() != wanted.kernel.tobytes() + wanted.bias.tobytes():
            raise Shortfall("the fleet's head differs from the one solved in one place")
        joining = self._joining.done + Counter({"killed in the middle": self._joining.kills})
        faults = self._faults + Counter({"crash of the broker": self._site.broker_crashes})
        return Report(whole.samples, faults, len(every), self._rolling.done, joining, len(self._names))

    def _differences(self, every: list[Branch], own: dict[str, Statistics]) -> list[str]:
        """Where something is missing or too much: on which device, on which side of the network."""
        found = []
        for branch in self._branches:
            learned, given = branch.learned(self._variant), branch.start + own[branch.name]
            if learned != given:
                counts = f"{learned.counts.tolist()} of each class, was given {given.counts.tolist()}"
                found.append(f"{branch.name} has learned {counts}:\n{branch.log()}")
        stored = self._stored()
        for name in self._names:
            given = merge([own[branch.name] for branch in every if branch.device == name])
            if name not in stored or not stored[name].same_sums(given):
                has = stored[name].counts.tolist() if name in stored else "nothing"
                found.append(f"the aggregator has {has} of {name}, which was given {given.counts.tolist()}")
        return found

    def _kill(self, branch: Branch) -> bool:
        servers = (self._site.kill_broker, self._site.kill_aggregator, self._site.kill_join_server)
        victim = self._random.randrange(len(self._branches) + len(servers))
        if victim < len(servers):
            servers[victim]()
        else:
            branch.end(signal.SIGKILL)
            branch.run()
        return True

    def _copy_live(self, branch: Branch) -> bool:
        """Both go on at once, and take each other's connection away."""
        return self._copy(branch)

    def _copy_cold(self, branch: Branch) -> bool:
        _stop_cleanly(branch)
        copied = self._copy(branch)
        branch.run()
        return copied

    def _copy(self, branch: Branch) -> bool:
        if sum(other.device == branch.device for other in self._branches) >= BRANCHES_MAX:
            return False
        if branch.device == self._operator.device or self._joining.busy_with(branch.folder):
            return False
        self._begin(branch.device, branch.image(self._new_folder(branch.device)))
        branch.shared = len(branch.given)
        return True

    def _back_up(self, branch: Branch) -> bool:
        if branch.device == self._operator.device or self._joining.busy_with(branch.folder):
            return False
        self._backups.append((branch, branch.image(self._new_folder(branch.device))))
        return True

    def _restore(self, branch: Branch) -> bool:
        """Put an older copy in the place of a branch, of which everything was acknowledged."""
        copies = [(other, folder) for other, folder in self._backups if other is branch]
        if not copies:
            return False
        deadline_s = time.monotonic() + SETTLE_TIMEOUT_S
        # copies of a device take each other's connection away; alone it comes to rest
        others = [other for other in self._branches if other.device == branch.device and other is not branch]
        for other in others:
            _stop_cleanly(other)
        while not branch.idle():
            if time.monotonic() > deadline_s:
                raise Shortfall(f"{branch.name} did not come to rest before it was set back:\n{branch.log()}")
            self._site.pause(0.05)
        branch.end(signal.SIGKILL)
        for other in others:
            other.run()
        _, folder = self._random.choice(copies)
        self._branches.remove(branch)
        self._replaced.append(branch)
        self._backups = [(other, copy) for other, copy in self._backups if other is not branch]
        copied = self._new_folder(branch.device)
        shutil.copytree(folder, copied)
        self._begin(branch.device, copied)
        return True

    def _correct(self, branch: Branch) -> bool:
        """Another label for a window that this branch alone was given, and still remembers.

        Of one that a copy has, too, the branch that goes on with the epoch decides (tests/contract/test_branches.py).
        """
        alone = branch.given[branch.shared :]
        if not alone:
            return False
        given = self._random.choice(alone[-10:])
        branch.correct(f"{self._next_file():05d}", given, self._random.randrange(len(given.y)))
        return True

    def _command(self, _: Branch) -> bool:
        """A label by a command for a window that came without one; the next such window is handed out."""
        branch = self._told
        answered = [
            given for given in self._unlabelled if (branch.folder / "predictions" / f"{given.name}.npz").exists()
        ]
        if answered and self._operator.knows_the_device():
            given = self._random.choice(answered)
            self._unlabelled.remove(given)
            self._operator.label(str(given.ids[0]), CLASSES[given.y[0]])
            branch.given.append(given)
        number = self._next_file()
        x, y = data(1, seed=self._seed % 100_000 + number)
        self._unlabelled.append(Given(f"{number:05d}", x, y))
        branch.drop(f"{number:05d}", x=x, id=self._unlabelled[-1].ids)
        return bool(answered)

    def _set(self, _: Branch) -> bool:
        """Another setting from afar."""
        if not self._operator.knows_the_device():
            return False
        self._operator.set(2.0 + self._random.randrange(100) / 100)
        return True

    def _act(self, _: Branch) -> bool:
        """An act over the API, which is killed meanwhile."""
        if not self._operator.knows_the_device():
            return False
        if self._api is None:
            self._api = Api(self._site, self._operator.device, self._random)
            self._stack.callback(self._api.end)
        self._api.act()
        return True

    def _roll_out(self, _: Branch) -> bool:
        """An operator begins a rollout, or does something to the one that is under way."""
        return self._rolling.act(self._names)

    @property
    def _told(self) -> Branch:
        return next(branch for branch in self._branches if branch.device == self._operator.device)

    def _await_the_operators_end(self) -> None:
        """Every command done, and the last settings in force. Raises Shortfall."""
        if not self._operator.knows_the_device():
            return
        deadline_s = time.monotonic() + SETTLE_TIMEOUT_S
        while problem := self._operator.problem():
            if time.monotonic() > deadline_s:
                raise Shortfall(f"{problem}\n{self._told.log()}")
            self._site.pause(0.2)

    def _begin(self, device: str, folder: Path) -> None:
        branch = Branch(device, folder, self._branches[0].start)
        branch.start = branch.learned(self._variant)
        self._branches.append(branch)
        branch.run()

    def _feed_some(self) -> None:
        """As many labels for each device, however many copies it has: one with far more would weigh less."""
        for device in self._random.sample(self._names, min(2, len(self._names))):
            running = [branch for branch in self._branches if branch.device == device and branch.process is not None]
            self._feed(self._random.choice(running))

    def _feed(self, branch: Branch) -> None:
        number = self._next_file()
        x, y = data(ROWS_A_FILE, seed=self._seed % 100_000 + number)
        order = np.random.default_rng(number).permutation(ROWS_A_FILE)
        branch.feed(Given(f"{number:05d}", x[order], y[order]))

    def _next_file(self) -> int:
        self._files += 1
        return self._files

    def _new_folder(self, device: str) -> Path:
        self._folders += 1
        return self._folder / f"{device}-{self._folders}"

    def _stop_copies(self) -> None:
        """All but one of each device: as many as there are take each other's connection away, faster than a busy
        machine makes one."""
        for device in self._names:
            branches = [branch for branch in self._branches if branch.device == device]
            stays = self._random.choice(branches)
            for branch in branches:
                if branch is not stays:
                    _stop_cleanly(branch)

    def _let_all_speak(self) -> None:
        """One copy of a device after the other, because they take each other's connection away; twice, because the
        first to speak may hear only then that its branch is another one."""
        for turn in range(2):
            for branch in self._branches:
                for other in self._branches:
                    if other.device == branch.device and other is not branch and other.process is not None:
                        _stop_cleanly(other)
                if branch.process is None:
                    branch.run()
                deadline_s = time.monotonic() + SETTLE_TIMEOUT_S
                while not branch.idle() or branch.bundle() != (self._rolling.release, True):
                    if time.monotonic() > deadline_s:
                        release, stays = branch.bundle()
                        runs = f"runs release {release}{'' if stays else ' on trial'} of {self._rolling.release}"
                        said = f"did not come to rest in turn {turn + 1}, {runs}"
                        raise Shortfall(f"{branch.name} {said}:\n{branch.log()}")
                    self._site.pause(0.05)

    def _await_head(self, samples: int) -> None:
        deadline_s = time.monotonic() + SETTLE_TIMEOUT_S
        while (head := self._head()) is None or head.samples != samples:
            if time.monotonic() > deadline_s:
                raise Shortfall(f"the fleet counts {0 if head is None else head.samples} of {samples} labels")
            self._site.pause(0.2)

    def _stored(self) -> dict[str, Statistics]:
        """Tables of each device, all its epochs together."""
        found: dict[str, Statistics] = {}
        with self._site.store() as store:
            for row in store.every_statistics(self._variant.space):
                tables = StatisticsReport.decode_stored(row.payload).statistics
                found[row.device] = found[row.device] + tables if row.device in found else tables
        return found

    def _head(self) -> PublishedHead | None:
        with self._site.store() as store:
            newest = store.head()
        return None if newest is None else PublishedHead.decode(newest.payload)

    def _stop(self) -> None:
        for branch in self._branches:
            if branch.process is not None and branch.process.poll() is None:
                _stop_cleanly(branch)
        self._site.stop()


def _stop_cleanly(branch: Branch) -> None:
    """One that has just been started may not have come to hear of it: then it has touched nothing."""
    if branch.end(signal.SIGTERM) not in (0, -signal.SIGTERM):
        raise Shortfall(f"{branch.name} did not stop cleanly:\n{branch.log()}")


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))


def make_bundle(folder: Path) -> Path:
    """A bundle that edge-convert writes from a small Keras model."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    quiet = {"check": True, "capture_output": True, "env": environment}
    subprocess.run([sys.executable, "-m", "tests.system.make_model", str(folder)], **quiet)  # type: ignore[call-overload]
    data_file, out = folder / "train.npz", folder / "tiny.hwb"
    command = [BIN / "edge-convert", folder / "tiny.keras", "--data", data_file, "--out", out]
    subprocess.run([str(part) for part in command], **quiet)  # type: ignore[call-overload]
    return out
