"""A device's files: key and certificate in one, so that one rename replaces both; the authority; agent.toml."""

from __future__ import annotations

import grp
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from edge_agent.enrolment.openssl import new_key
from edge_agent.example import is_untouched
from headway.durable import write_durably
from headway.errors import ConfigError, StoreError
from headway.joining import JoinAnswer

# systemd/headway.sysusers: the service runs in it, under a user that systemd makes up
GROUP = "headway"
# PEM files may hold lines of text before what they are for
JOINED_WITH, JOINED_AT = "joined with code ", "joined at "

TOML = """\
# Written by edge-agent join. Every further setting: docs/configuration.md, systemd/agent.toml.

[device]
id = "{device}"
fleet = "{fleet}"

[bundle]
path = "model.hwb"

[storage]
state_dir = "/var/lib/edge-agent"

[sensor]
spool_dir = "/var/spool/headway/in"
predictions_dir = "/var/spool/headway/predictions"

{mqtt}{sync}"""
MQTT = """\
[mqtt]
host = "{host}"
port = {port}
tls = true
ca_file = "ca.pem"
cert_file = "identity.pem"
key_file = "identity.pem"
"""
SYNC = """
[sync]
head_keys = "head-keys.pub"
"""


@dataclass(frozen=True, slots=True)
class IdentityFiles:
    """The files beside one agent.toml."""

    config: Path

    @property
    def identity(self) -> Path:
        """Private key and certificate, PEM."""
        return self.config.parent / "identity.pem"

    @property
    def authority(self) -> Path:
        return self.config.parent / "ca.pem"

    @property
    def head_keys(self) -> Path:
        """Public keys of the server, with which it seals heads, priors and orders."""
        return self.config.parent / "head-keys.pub"

    @property
    def next_key(self) -> Path:
        """The key that is asked for at present: after a kill the same is asked for again."""
        return self.config.parent / "identity.next.key"

    def make_folder(self) -> None:
        """Raises StoreError."""
        try:
            self.config.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"cannot make {self.config.parent}: {error.strerror or error}") from error

    def make_next_key(self, purpose: str) -> Path:
        """The file of the key to ask for: what is there for the same purpose, or a new one."""
        headline = purpose.encode() + b"\n"
        if not self.next_key.exists() or not self.next_key.read_bytes().startswith(headline):
            write_private(self.next_key, headline + new_key())
        return self.next_key

    def made_next_key(self) -> bytes:
        """That key, PEM."""
        return self.next_key.read_bytes().partition(b"\n")[2]

    def joined_with(self, code_sha256: str) -> bool:
        """Whether the identity that is here came with this code."""
        return self.identity.exists() and self.identity.read_bytes().startswith(_headline(code_sha256))

    def joined_at(self) -> str:
        """The address at which the device joined; empty where the identity does not say. Raises StoreError."""
        try:
            lines = self.identity.read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError) as error:
            raise StoreError(f"cannot read {self.identity}: {error}") from error
        return next((line.removeprefix(JOINED_AT) for line in lines if line.startswith(JOINED_AT)), "")

    def write_identity(self, key: bytes, answer: JoinAnswer, url: str, code_sha256: str = "") -> None:
        """Key and certificate, by one rename, for the service's group where there is one."""
        head = _headline(code_sha256) + f"{JOINED_AT}{url}\n".encode()
        write_private(self.identity, head + key.rstrip() + b"\n" + answer.certificate.encode())

    def write_config(self, answer: JoinAnswer, *, replace: bool = False) -> bool:
        """agent.toml, unless somebody wrote one, which stays without `replace`; whether it names this identity."""
        mqtt = MQTT.format(host=answer.host, port=answer.port)
        sync = SYNC if answer.head_keys else ""
        if replace or not self.config.exists() or is_untouched(self.config):
            text = TOML.format(device=answer.device, fleet=answer.fleet, mqtt=mqtt, sync=sync)
            write_durably(self.config, text.encode(), 0o644)
            return True
        try:
            found = tomllib.loads(self.config.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"{self.config} cannot be read: {error}") from error
        wanted = tomllib.loads(TOML.format(device=answer.device, fleet=answer.fleet, mqtt=mqtt, sync=sync))
        sealed = found.get("sync", {}).get("head_keys") == self.head_keys.name or not answer.head_keys
        return sealed and all(found.get(name) == wanted[name] for name in ("device", "mqtt"))

    @staticmethod
    def settings_of(answer: JoinAnswer) -> str:
        """What an agent.toml that was there before must say."""
        device = f'[device]\nid = "{answer.device}"\nfleet = "{answer.fleet}"\n\n'
        sync = SYNC if answer.head_keys else ""
        return device + MQTT.format(host=answer.host, port=answer.port) + sync

    def write_head_keys(self, answer: JoinAnswer) -> bool:
        """What the server seals with; whether that is news. A server that tells none leaves what is there."""
        content = "".join(f"{line}\n" for line in answer.head_keys).encode()
        if not content or (self.head_keys.exists() and self.head_keys.read_bytes() == content):
            return False
        write_durably(self.head_keys, content, 0o644)
        return True


def write_private(file: Path, payload: bytes) -> None:
    """A file that only its owner, and the service's group, may read."""

    def write(stream: BinaryIO) -> None:
        if group is not None:
            os.fchown(stream.fileno(), -1, group)
        stream.write(payload)

    group = _service_group()
    write_durably(file, write, 0o600 if group is None else 0o640)


def _headline(code_sha256: str) -> bytes:
    return f"{JOINED_WITH}{code_sha256[:16]}\n".encode() if code_sha256 else b""


def _service_group() -> int | None:
    """None where there is no service, or its group cannot be given a file."""
    if os.geteuid() != 0:
        return None
    return next((entry.gr_gid for entry in grp.getgrall() if entry.gr_name == GROUP), None)
