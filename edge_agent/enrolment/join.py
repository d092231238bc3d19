"""Implements `edge-agent join`: the key is born here and never leaves; the server signs it for a code.

Killed anywhere it may be called again: the key that was asked for is kept until its certificate is written, and the
server answers the same key and code with the same certificate.
"""

from __future__ import annotations

from pathlib import Path

from edge_agent.enrolment.identity import IdentityFiles
from edge_agent.enrolment.openssl import certificate_request
from edge_agent.enrolment.server import JoinServer
from headway.durable import write_durably
from headway.errors import TransportError
from headway.joining import JOIN_PATH, JoinCode, JoinRequest


def join_fleet(url: str, code_text: str, name: str, config: Path, *, replace: bool = False) -> str:
    """Join the fleet of a code, and write what the service needs beside `config`; what to do next, in words.

    replace: a configuration that somebody wrote goes for the one of the fleet.
    Raises ConfigError, TransportError, RemoteError, StoreError.
    """
    code = JoinCode.parse(code_text)
    server = JoinServer.first_met(url, code.authority_sha256)
    files = IdentityFiles(config)
    files.make_folder()
    repeated = files.joined_with(code.sha256)
    key_file = files.identity if repeated else files.make_next_key(f"for code {code.sha256[:16]}")
    request = JoinRequest(code.secret, name, certificate_request(key_file, name or "device"))
    answer = server.ask(JOIN_PATH, request.encode())
    if answer.authority.strip() != server.authority.strip():
        raise TransportError(f"{server.host}:{server.port} answers with the certificate of another authority")
    write_durably(files.authority, answer.authority.encode())
    if not repeated:
        files.write_identity(files.made_next_key(), answer, url, code.sha256)
    files.next_key.unlink(missing_ok=True)
    files.write_head_keys(answer)
    written = files.write_config(answer, replace=replace)
    place = f"this device is {answer.device} in fleet {answer.fleet}; its certificate is in {files.identity}"
    if answer.head_keys:
        place += f"\nheads and orders of the fleet need the seal of a key in {files.head_keys}"
    if not written:
        return f"{place}\n{config} was there before and stays; it must say:\n\n{files.settings_of(answer)}"
    return f"{place}\nnext: put the bundle at {config.parent / 'model.hwb'}, then edge-agent run {config}"
