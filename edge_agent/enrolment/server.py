"""HTTPS to the server at which devices join, which is known by its authority alone, whatever its address."""

from __future__ import annotations

import hashlib
import http.client
import ssl
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import urlsplit

from headway.errors import ConfigError, RemoteError, TransportError
from headway.fields import Fields, parse_json
from headway.joining import AUTHORITY_PATH, JOIN_SERVER, MESSAGE_BYTES_MAX, JoinAnswer
from headway.tls import context_of_authority, unchecked_context

TIMEOUT_S = 30.0
PORT = 8884


class _Reply(NamedTuple):
    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class JoinServer:
    """Where devices join. authority: certificate of the authority that signed the server's, PEM."""

    host: str
    port: int
    authority: str

    @classmethod
    def first_met(cls, url: str, authority_sha256: str) -> JoinServer:
        """The server at `url`, once it has shown the authority's certificate of that fingerprint.

        The certificate is public and is asked for without any check; the fingerprint decides. Raises ConfigError,
        TransportError.
        """
        host, port = address(url)
        connection = http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=unchecked_context())
        reply = _exchange(connection, AUTHORITY_PATH)
        try:
            pem = reply.body.decode("ascii")
            found = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()
        except ValueError as error:
            raise TransportError(f"{host}:{port} is no server at which devices join (HTTP {reply.status})") from error
        if found != authority_sha256:
            raise TransportError(
                f"{host}:{port} is not the server that the join code is of: its authority is {found[:16]}..., the "
                f"code's {authority_sha256[:16]}...; check the address, and who answers there"
            )
        return cls(host, port, pem)

    def ask(self, path: str, payload: bytes) -> JoinAnswer:
        """Post a request over TLS that is checked against the authority. Raises TransportError, RemoteError."""
        # not the address but the authority and the name in the certificate say who it is
        context = context_of_authority(self.authority)
        connection = http.client.HTTPSConnection(self.host, self.port, timeout=TIMEOUT_S, context=context)
        reply = _exchange(connection, path, payload)
        if reply.status == http.client.OK:
            return JoinAnswer.decode(reply.body)
        where = f"{self.host}:{self.port}"
        problem = Fields(parse_json(reply.body, where, RemoteError, MESSAGE_BYTES_MAX), where, RemoteError)
        raise TransportError(f"{where}: {problem.text('detail', length_max=1024)}")


def address(url: str) -> tuple[str, int]:
    """Host and port of ``https://HOST[:PORT]``. Raises ConfigError."""
    try:
        parts = urlsplit(url if "://" in url else f"https://{url}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigError(f"{url!r} is no address; write https://HOST:{PORT}") from error
    if parts.scheme != "https" or not host or parts.path not in ("", "/") or parts.query or parts.username:
        raise ConfigError(f"{url!r} is no address at which devices join; write https://HOST:{PORT}")
    return host, port or PORT


def _exchange(connection: http.client.HTTPSConnection, path: str, payload: bytes | None = None) -> _Reply:
    """One request. With a payload, the server's certificate must be checked, and named as a server for joins is."""
    where = f"{connection.host}:{connection.port}"
    try:
        connection.connect()
        if payload is not None:
            _check_name(connection.sock.getpeercert(), where)
        connection.request("GET" if payload is None else "POST", path, payload, {"Content-Type": "application/json"})
        reply = connection.getresponse()
        body = reply.read(MESSAGE_BYTES_MAX + 1)
    except ssl.SSLError as error:
        raise TransportError(f"{where}: {getattr(error, 'verify_message', None) or error.reason or error}") from error
    except (OSError, http.client.HTTPException) as error:
        raise TransportError(f"cannot reach {where}: {getattr(error, 'strerror', None) or error}") from error
    finally:
        connection.close()
    if len(body) > MESSAGE_BYTES_MAX:
        raise TransportError(f"{where} answers with more than {MESSAGE_BYTES_MAX} bytes; it is no server for joins")
    return _Reply(reply.status, body)


def _check_name(certificate: object, where: str) -> None:
    subject = certificate.get("subject", ()) if isinstance(certificate, dict) else ()
    names = [value for part in subject for key, value in part if key == "commonName"]
    if names != [JOIN_SERVER]:
        raise TransportError(f"{where} has a certificate of the fleet, but not that of the server for joins")
