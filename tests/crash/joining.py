"""Devices join, renew their certificates and are revoked, by the real programs, while everything is killed.

One of these acts is under way at a time. Its program may be killed like all the others, and is then called again, until
it ends well. What it leaves on the disk after each try is noted: in the end the store must know exactly the
certificates that devices have, or had.
"""

from __future__ import annotations

import random
import signal
import subprocess
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from aggregator.enrolment.authority import Authority
from aggregator.store.rows import AUDIT, CERTIFICATES, JOIN_CODES, CertificateRow, JoinCodeRow
from edge_agent.config import read_config
from edge_agent.enrolment.renewal import check_accepted
from headway.errors import TransportError
from testbed.broker import die_with_parent
from tests.crash.branch import BIN, CONFIG
from tests.crash.shortfall import Shortfall
from tests.crash.site import CLOCK, FLEET, HOUR_S, Site

JOIN, RENEW, REVOKE = "join", "renewal", "revocation"
# of a hundred
KINDS = {JOIN: 45, RENEW: 35, REVOKE: 20}
KILL_CHANCE, KILLS_MAX = 0.4, 3
TRIES_MAX = 60
END_WITHIN_S = 60.0
IDENTITY, LEFT_OVER = "identity.pem", "identity.next.*"


@dataclass
class Act:
    """One program to be called until it ends well. device, folder: whom it is about, and where that one's files are."""

    kind: str
    device: str
    folder: Path
    command: list[str]
    process: subprocess.Popen[bytes] | None = None
    tries: int = 0
    kills: int = 0


@dataclass
class Joined:
    """A device that joined here and does nothing else."""

    folder: Path
    revoked: bool = False


@dataclass
class Joining:
    """All of it for one site. chance: victims and moments."""

    site: Site
    chance: random.Random
    joined: dict[str, Joined] = field(default_factory=dict)
    done: Counter[str] = field(default_factory=Counter)
    kills: int = 0
    _act: Act | None = None
    # by device, serials that its disk has held
    _seen: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    _codes: int = 0

    def note(self, device: str, folder: Path) -> None:
        """A folder holds an identity of this device."""
        file = folder / IDENTITY
        if file.exists():
            certificate = x509.load_pem_x509_certificate(file.read_bytes())
            self._seen[device].add(f"{certificate.serial_number:x}")

    def busy_with(self, folder: Path) -> bool:
        """Whether a program is at work in this folder."""
        return self._act is not None and self._act.folder == folder

    def begin(self, folders: dict[Path, str]) -> bool:
        """Begin one of the acts, if none is under way. folders: of running agents, with their devices: they renew."""
        if self._act is not None:
            return False
        kind = self.chance.choices(list(KINDS), list(KINDS.values()))[0]
        revocable = [name for name, device in self.joined.items() if not device.revoked]
        if kind == REVOKE and len(revocable) > 1:
            name = self.chance.choice(revocable)
            command = [str(BIN / "edge-fleet"), "revoke", name, "--config", str(self.site.config)]
            self._act = Act(REVOKE, name, self.joined[name].folder, command)
        elif kind == RENEW:
            choices = {**folders, **{self.joined[name].folder: name for name in revocable}}
            folder = self.chance.choice(list(choices))
            command = [str(BIN / "edge-agent"), "renew", str(folder / CONFIG), "--at-once"]
            self._act = Act(RENEW, choices[folder], folder, command)
        else:
            self._act = self._new_device()
        self._try()
        return True

    def step(self) -> None:
        """Look after the act that is under way; kill its program now and then. Raises Shortfall."""
        act = self._act
        if act is None or act.process is None:
            return
        if act.process.poll() is None and act.kills < KILLS_MAX and self.chance.random() < KILL_CHANCE:
            act.process.send_signal(signal.SIGKILL)
            act.process.wait()
            act.kills += 1
            self.kills += 1
        if act.process.poll() is not None:
            self._tried(act)

    def settle(self) -> None:
        """Let the last act come to its end. Raises Shortfall."""
        self.site.await_join_server()
        while (act := self._act) is not None and act.process is not None:
            act.process.wait(END_WITHIN_S)
            self._tried(act)

    def problems(self, folders: dict[Path, str]) -> list[str]:
        """What is not as it should be. folders: of the agents, and their devices."""
        with self.site.store() as store:
            rows, codes = store.rows(CERTIFICATES).all(), store.rows(JOIN_CODES).all()
            acts = Counter((row.who, row.subject) for row in store.rows(AUDIT).all() if row.act == "join")
        found = [f"{who} let {device} join {count} times" for (who, device), count in acts.items() if count > 1]
        found += self._wrong_codes(codes, rows)
        issued: defaultdict[str, set[str]] = defaultdict(set)
        for row in rows:
            issued[row.device].add(row.serial)
        for device in sorted(issued.keys() | self._seen.keys()):
            if never := issued[device] - self._seen[device]:
                found.append(f"{device} never had certificates that the store says it got: {sorted(never)}")
            if unknown := self._seen[device] - issued[device]:
                found.append(f"{device} had certificates that the store does not know: {sorted(unknown)}")
        revoked = {name for name, device in self.joined.items() if device.revoked}
        listed = self._listed()
        for row in rows:
            if (row.revoked_s > 0) != (row.device in revoked):
                what = "good" if row.revoked_s == 0 else "revoked"
                found.append(f"certificate {row.serial} of {row.device} is {what} in the store")
            if row.revoked_s and row.serial not in listed:
                found.append(f"certificate {row.serial} of {row.device} is not in the broker's list of revoked ones")
        everybody = {**folders, **{device.folder: name for name, device in self.joined.items()}}
        for folder, device in everybody.items():
            found += [f"{folder.name}: {problem}" for problem in self._wrong_identity(folder, device, issued[device])]
            refusal = self._refusal(folder)
            if bool(refusal) != (device in revoked):
                found.append(f"the broker lets in {folder.name}" if not refusal else f"{folder.name}: {refusal}")
        return found

    def _new_device(self) -> Act:
        name = f"joins-{len(self.joined)}"
        folder = self.site.folder / name
        self.joined[name] = Joined(folder)
        reusable = self.chance.random() < 0.5
        with self.site.store() as store:
            given = ("", 3) if reusable else (name, 1)
            code = self.site.enrolment(store).put_code("crash", given[0], [], given[1], CLOCK.wall_s(), HOUR_S)
        command = [str(BIN / "edge-agent"), "join", self.site.join_url, "--code", code.text, "--name", name]
        return Act(JOIN, name, folder, [*command, "--config", str(folder / CONFIG)])

    def _try(self) -> None:
        act = self._act
        assert act is not None
        act.tries += 1
        if act.tries > TRIES_MAX:
            raise Shortfall(f"the {act.kind} of {act.device} has failed {TRIES_MAX} times:\n{self._said()}")
        with (self.site.folder / "joining.log").open("ab") as log:
            act.process = subprocess.Popen(act.command, stdout=log, stderr=log, preexec_fn=die_with_parent)

    def _tried(self, act: Act) -> None:
        """The program has ended, one way or another."""
        assert act.process is not None
        if act.kind != REVOKE:
            self.note(act.device, act.folder)
        if act.process.returncode:
            if act.process.returncode > 0:
                self.site.await_join_server()  # it was killed, and starts
            self._try()
            return
        self._act = None
        self.done[act.kind] += 1
        if act.kind == REVOKE:
            self.joined[act.device].revoked = True
        # from now on, and not only in the end
        refusal = self._refusal(act.folder)
        if bool(refusal) != (act.kind == REVOKE):
            seen = refusal or "the broker lets it in"
            raise Shortfall(f"after its {act.kind}, {act.device}: {seen}\n{self._said()}")

    def _refusal(self, folder: Path) -> str:
        """Why the broker refuses a device; empty when it lets it in."""
        mqtt = read_config(folder / CONFIG).mqtt
        assert mqtt is not None
        while True:
            self.site.revive_broker()
            try:
                check_accepted(mqtt)
            except TransportError as error:
                if self.site.broker.ended is None:
                    return str(error)
            else:
                return ""

    def _listed(self) -> set[str]:
        """Serials in the list that the broker reads."""
        read = x509.load_pem_x509_crl((self.site.folder / "broker" / "revoked.pem").read_bytes())
        return {f"{entry.serial_number:x}" for entry in read}

    def _wrong_identity(self, folder: Path, device: str, issued: set[str]) -> list[str]:
        """Whether a device's file holds one key, its own certificate, and nothing is left of what was under way."""
        left = sorted(file.name for file in folder.glob(LEFT_OVER))
        found = [f"{', '.join(left)} was left behind"] if left else []
        if not (folder / IDENTITY).exists():
            return [*found, "has no identity"]
        payload = (folder / IDENTITY).read_bytes()
        certificate = x509.load_pem_x509_certificate(payload)
        key = load_pem_private_key(payload, None)
        if certificate.public_key() != key.public_key():
            found.append("its certificate is of another key")
        if f"{certificate.serial_number:x}" not in issued:
            found.append(f"its certificate {certificate.serial_number:x} is not in the store")
        authority = Authority.open(self.site.state_dir, FLEET, CLOCK.wall_s())
        certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(authority.pem))
        names = [str(name.value) for name in certificate.subject]
        return found if names == [device] else [*found, f"its certificate is for {names}"]

    @staticmethod
    def _wrong_codes(codes: list[JoinCodeRow], rows: list[CertificateRow]) -> list[str]:
        found = []
        for code in codes:
            devices = [row.device for row in rows if row.code_sha256 == code.sha256]
            if code.used != len(devices) or len(set(devices)) != len(devices):
                found.append(f"a code was counted {code.used} times; {devices} joined with it")
        return found

    def _said(self) -> str:
        """The end of what the programs said."""
        file = self.site.folder / "joining.log"
        return "\n".join(file.read_text(errors="replace").splitlines()[-6:]) if file.exists() else ""
