"""Certificates that are made or documented here pass the strict check; a refused one is told by what it lacks."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
from pathlib import Path

import pytest

from headway.mqtt import MqttSettings
from headway.mqtt.failures import connection_failure
from testbed.certificates import Authority

HOWTO = Path(__file__).parents[2] / "docs" / "howto" / "mqtt.md"


def shaken(ca_file: Path, certificate: Path, key: Path, host: str) -> str:
    """Version of TLS agreed with a server of that certificate, checked as Python 3.13 does on every Python."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    client = ssl.create_default_context(cafile=ca_file)
    client.verify_flags |= ssl.VERIFY_X509_STRICT

    def serve(listener: socket.socket) -> None:
        with listener.accept()[0] as raw:
            try:
                server.wrap_socket(raw, server_side=True).close()
            except OSError as error:
                refused.append(error)

    refused: list[OSError] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        try:
            with (
                socket.create_connection(listener.getsockname(), 10) as raw,
                client.wrap_socket(raw, server_hostname=host) as secured,
            ):
                return secured.version() or ""
        finally:
            thread.join(10)


def test_the_test_authority_passes_the_strict_check(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    assert shaken(authority.ca_file, *authority.issue("server"), "127.0.0.1") == "TLSv1.3"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="the openssl command is not installed")
def test_the_documented_commands_make_certificates_that_pass(tmp_path: Path) -> None:
    commands = HOWTO.read_text().split("```sh\n")[1].split("```")[0]
    subprocess.run(["sh", "-e"], input=commands, cwd=tmp_path, check=True, text=True, capture_output=True)
    files = tmp_path / "ca.pem", tmp_path / "server.pem", tmp_path / "server.key"
    assert shaken(*files, "broker.example") == "TLSv1.3"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="the openssl command is not installed")
def test_a_certificate_made_by_hand_without_extensions_is_refused_by_what_it_lacks(tmp_path: Path) -> None:
    curve = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
    commands = f"""
openssl req -x509 {curve} -days 2 -subj /CN=authority -keyout ca.key -out ca.pem
openssl req {curve} -subj /CN=broker -keyout server.key -out server.csr
echo subjectAltName=DNS:broker > server.ext
echo authorityKeyIdentifier=none >> server.ext
openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile server.ext -out server.pem
"""
    subprocess.run(["sh", "-e"], input=commands, cwd=tmp_path, check=True, text=True, capture_output=True)
    with pytest.raises(ssl.SSLCertVerificationError) as refused:
        shaken(tmp_path / "ca.pem", tmp_path / "server.pem", tmp_path / "server.key", "broker")
    line, _ = connection_failure(refused.value, MqttSettings(tls=True), 1.8e9)
    assert "docs/howto/mqtt.md" in line
    assert any(word in line for word in ("Key Identifier", "key usage"))
