"""Codes, joins, renewals and revocations, over a store in memory and over SQLite."""

from __future__ import annotations

import json
import ssl
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from aggregator.enrolment.authority import FOLDER, KEY, Authority, Role, private_pem
from aggregator.enrolment.enrolment import Broker, Enrolment, JoinRefused
from aggregator.registry import put_filter_group
from aggregator.store import Store
from aggregator.store.location import sqlite_url
from aggregator.store.memory import MemoryStore
from aggregator.store.rows import JOIN_CODES, MEMBERS, MemberRow
from aggregator.store.sql import SqlStore
from headway.errors import ConfigError, RemoteError, StoreError
from headway.joining import JoinCode, JoinRequest, RenewRequest

NOW_S = 1.8e9
DAY_S = 86_400.0


def request_of(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "whatever")])
    made = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM).decode()


def new_request() -> str:
    return request_of(ec.generate_private_key(ec.SECP256R1()))


def enrolment_over(store: Store, folder: Path) -> Enrolment:
    return Enrolment(store, Authority.open(folder, "plant", NOW_S), Broker("plant", "broker", 8883), 365)


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "memory":
        yield MemoryStore()
        return
    opened = SqlStore(sqlite_url(tmp_path))
    yield opened
    opened.close()


@pytest.fixture
def enrolment(store: Store, tmp_path: Path) -> Enrolment:
    return enrolment_over(store, tmp_path)


def used(store: Store, code: JoinCode) -> int:
    with store.transaction():
        row = store.rows(JOIN_CODES).get(code.sha256)
    assert row is not None
    return row.used


def test_a_code_for_one_device_is_used_once(enrolment: Enrolment, store: Store) -> None:
    code = enrolment.new_code("wrist-1", ["gym"], 1, NOW_S, DAY_S)
    request = JoinRequest(code.secret, "", new_request())
    answer = enrolment.join(request, NOW_S)
    assert (answer.device, answer.fleet, answer.host, answer.port) == ("wrist-1", "plant", "broker", 8883)
    assert enrolment.join(request, NOW_S + 2 * DAY_S) == answer  # the same question, the same answer, counted once
    assert used(store, code) == 1
    with pytest.raises(JoinRefused, match="has been used"):
        enrolment.join(JoinRequest(code.secret, "", new_request()), NOW_S)
    certificate = x509.load_pem_x509_certificate(answer.certificate.encode())
    assert certificate.subject.rfc4514_string() == "CN=wrist-1"
    assert json.loads(enrolment.certificates()[0].groups) == ["gym"]
    with store.transaction():
        assert store.rows(MEMBERS).where(group_name="gym") == [MemberRow("wrist-1", "gym")]


def test_a_group_must_be_a_list(enrolment: Enrolment, store: Store) -> None:
    with store.transaction():
        put_filter_group(store, "busy", "labels > 5", NOW_S)
    with pytest.raises(ConfigError, match="busy"):
        enrolment.new_code("a", ["busy"], 1, NOW_S, DAY_S)
    with pytest.raises(ConfigError, match="group"):
        enrolment.new_code("a", ["b/c"], 1, NOW_S, DAY_S)


def test_a_reusable_code_is_counted(enrolment: Enrolment, store: Store) -> None:
    code = enrolment.new_code("", [], 2, NOW_S, DAY_S)
    with pytest.raises(JoinRefused, match="--name"):
        enrolment.join(JoinRequest(code.secret, "", new_request()), NOW_S)
    enrolment.join(JoinRequest(code.secret, "a", new_request()), NOW_S)
    with pytest.raises(JoinRefused, match="a has joined before"):  # nobody becomes another device with it
        enrolment.join(JoinRequest(code.secret, "a", new_request()), NOW_S)
    enrolment.join(JoinRequest(code.secret, "b", new_request()), NOW_S)
    with pytest.raises(JoinRefused, match="has been used"):
        enrolment.join(JoinRequest(code.secret, "c", new_request()), NOW_S)
    assert used(store, code) == 2


@pytest.mark.parametrize("name", ["_aggregator", "_broker", "a/b", "#", "+", "a\nuser x", "", "x" * 65])
def test_no_certificate_has_a_name_that_means_more(enrolment: Enrolment, name: str) -> None:
    code = enrolment.new_code("", [], 9, NOW_S, DAY_S)
    with pytest.raises(JoinRefused):
        enrolment.join(JoinRequest(code.secret, name, new_request()), NOW_S)


def test_codes_end(enrolment: Enrolment) -> None:
    code = enrolment.new_code("a", [], 1, NOW_S, 60)
    with pytest.raises(JoinRefused, match="expired"):
        enrolment.join(JoinRequest(code.secret, "", new_request()), NOW_S + 60)
    with pytest.raises(JoinRefused, match="does not know"):
        enrolment.join(JoinRequest("a" * 26, "", new_request()), NOW_S)
    with pytest.raises(JoinRefused, match="is for a"):
        enrolment.join(JoinRequest(code.secret, "b", new_request()), NOW_S)


@pytest.mark.parametrize(
    "request_text", ["", "x", request_of(rsa.generate_private_key(65537, 2048)),
                     request_of(ec.generate_private_key(ec.SECP384R1())), "-----BEGIN CERTIFICATE REQUEST-----\n"]
)  # fmt: skip
def test_other_requests_are_refused_and_cost_no_code(enrolment: Enrolment, store: Store, request_text: str) -> None:
    code = enrolment.new_code("a", [], 1, NOW_S, DAY_S)
    with pytest.raises(RemoteError, match="request"):
        enrolment.join(JoinRequest(code.secret, "", request_text), NOW_S)
    assert used(store, code) == 0


def test_a_certificate_is_renewed_with_its_own_key(enrolment: Enrolment) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    code = enrolment.new_code("a", ["g"], 1, NOW_S, DAY_S)
    old = enrolment.join(JoinRequest(code.secret, "", request_of(key)), NOW_S)
    text = new_request()
    signed = key.sign(text.encode(), ec.ECDSA(hashes.SHA256()))
    renewed = enrolment.renew(RenewRequest(old.serial, text, signed), NOW_S + 300 * DAY_S)
    assert renewed.device == "a"
    assert renewed.expires_s > old.expires_s
    assert enrolment.renew(RenewRequest(old.serial, text, signed), NOW_S + 301 * DAY_S) == renewed
    other = ec.generate_private_key(ec.SECP256R1()).sign(text.encode(), ec.ECDSA(hashes.SHA256()))
    for refused in (RenewRequest(old.serial, text, other), RenewRequest("ff", text, signed)):
        with pytest.raises(JoinRefused, match="not signed with the key"):
            enrolment.renew(refused, NOW_S)
    with pytest.raises(JoinRefused, match="is over"):
        enrolment.renew(RenewRequest(old.serial, text, signed), NOW_S + 365 * DAY_S)
    assert enrolment.revoke("a", NOW_S + 302 * DAY_S) == 2
    with pytest.raises(JoinRefused, match="is revoked"):
        enrolment.renew(RenewRequest(old.serial, text, signed), NOW_S + 302 * DAY_S)


def test_what_is_revoked_stays_out(enrolment: Enrolment, store: Store) -> None:
    many = enrolment.new_code("", [], 9, NOW_S, DAY_S)
    request = JoinRequest(many.secret, "a", new_request())
    answer = enrolment.join(request, NOW_S)
    unused = enrolment.new_code("a", [], 1, NOW_S, DAY_S)
    assert enrolment.revoke("a", NOW_S) == 1
    assert enrolment.revoke("a", NOW_S) == 0
    assert [serial for serial, _ in enrolment.revoked(NOW_S)] == [answer.serial]
    for code in (many, unused):
        with pytest.raises(JoinRefused):
            enrolment.join(JoinRequest(code.secret, "a", new_request()), NOW_S)
    with pytest.raises(JoinRefused, match="used before"):
        enrolment.join(request, NOW_S)
    with store.transaction():
        store.remove_device("a")
    assert [serial for serial, _ in enrolment.revoked(NOW_S)] == [answer.serial]
    again = enrolment.new_code("a", [], 1, NOW_S, DAY_S)
    assert enrolment.join(JoinRequest(again.secret, "", new_request()), NOW_S).device == "a"
    with pytest.raises(ConfigError, match="no device 'b' has joined"):
        enrolment.revoke("b", NOW_S)


def test_a_code_survives_copying_and_no_mistake_shows_its_secret() -> None:
    code = JoinCode.new("0123456789abcdef" * 4)
    assert JoinCode.parse(f" {code.text.upper()}\n") == code
    assert len({JoinCode.new("00" * 32).secret for _ in range(100)}) == 100
    with pytest.raises(ConfigError) as caught:
        JoinCode.parse(code.text[:-1])
    assert code.secret not in str(caught.value)


def test_the_secret_of_a_code_is_not_stored(tmp_path: Path) -> None:
    store = SqlStore(sqlite_url(tmp_path))
    code = enrolment_over(store, tmp_path).new_code("a", [], 1, NOW_S, DAY_S)
    store.close()
    assert all(code.secret.encode() not in file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())


def test_the_authority_is_made_once_and_kept(tmp_path: Path) -> None:
    made: list[str] = []
    threads = [
        threading.Thread(target=lambda: made.append(Authority.open(tmp_path, "plant", NOW_S).sha256)) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 4
    assert len(set(made)) == 1
    assert stat.S_IMODE((tmp_path / FOLDER / KEY).stat().st_mode) == 0o600
    (tmp_path / FOLDER / "ca.pem").unlink()  # killed between the two files
    assert Authority.open(tmp_path, "plant", NOW_S).sha256
    (tmp_path / FOLDER / KEY).write_bytes(private_pem(ec.generate_private_key(ec.SECP256R1())))
    with pytest.raises(StoreError, match="does not belong"):
        Authority.open(tmp_path, "plant", NOW_S)
    (tmp_path / FOLDER / KEY).unlink()
    with pytest.raises(StoreError, match="bring it back from a backup"):
        Authority.open(tmp_path, "plant", NOW_S)


@pytest.mark.parametrize("client_role", [Role.CLIENT, Role.SERVER])
def test_certificates_pass_the_strict_check_in_their_own_role_only(tmp_path: Path, client_role: Role) -> None:
    import time

    now_s = time.time()
    authority = Authority.open(tmp_path, "plant", now_s)
    contexts = []
    for name, role, protocol in (
        ("_broker", Role.SERVER, ssl.PROTOCOL_TLS_SERVER), ("a", client_role, ssl.PROTOCOL_TLS_CLIENT)
    ):  # fmt: skip
        key, issued = authority.issue_with_key(name, role, now_s, 30, ("localhost", "127.0.0.1"))
        (tmp_path / name).write_bytes(key + issued.pem)
        context = ssl.SSLContext(protocol)
        context.load_verify_locations(cadata=authority.pem.decode())
        context.load_cert_chain(tmp_path / name)
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        contexts.append(context)
    if client_role is Role.CLIENT:
        assert _handshake(*contexts) == "a"
    else:
        with pytest.raises(ssl.SSLError, match=r"(?i)purpose"):
            _handshake(*contexts)


def _handshake(server: ssl.SSLContext, client: ssl.SSLContext) -> str:
    """In memory; the client's common name as the server sees it."""
    pipes = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(pipes[0], pipes[1], server_hostname="localhost"),
        server.wrap_bio(pipes[1], pipes[0], server_side=True),
    ]
    for _ in range(4):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    peer = ends[1].getpeercert()
    assert peer is not None
    return str(peer["subject"][0][0][1])  # type: ignore[index]


def test_fifty_devices_join_with_one_code(tmp_path: Path) -> None:
    store = MemoryStore()
    enrolment = enrolment_over(store, tmp_path)
    code = enrolment.new_code("", [], 50, NOW_S, DAY_S)
    text = [new_request() for _ in range(50)]
    answers = [enrolment.join(JoinRequest(code.secret, f"d{n}", text[n]), NOW_S) for n in range(50)]
    assert len({answer.serial for answer in answers}) == 50
    assert used(store, code) == 50
