"""Events of alerts reach their channels: in order, again until they are taken, under one id, and never forged."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import pytest

from aggregator.alerts import EmailSettings, WebhookSettings
from aggregator.alerts.channels import AlertMessage
from aggregator.alerts.delivery import Delivery, DeliveryThread, begin_channels
from aggregator.alerts.mail import Email
from aggregator.alerts.webhook import Webhook, signature
from aggregator.store import MemoryStore, Store
from aggregator.store.rows import ALERT_CHANNELS, ALERT_EVENTS, AlertChannelRow, AlertEventRow
from aggregator.store.sql import SqlStore
from headway.errors import ConfigError, TransportError
from headway.ports import SystemClock
from testbed.certificates import Authority
from testbed.receivers import MailRelay, WebhookReceiver, drip, hang, status

KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()
HOSTILE = "\x1b[2Jgone\u202e\r\nBcc: mallory@example.org"


@dataclass
class Clock:
    now_s: float = 0.0

    def monotonic_s(self) -> float:
        return self.now_s

    def wall_s(self) -> float:
        return 1_800_000_000.0 + self.now_s


@dataclass
class Taker:
    """A channel that fails as often as it is told to."""

    failures: int = 0
    name: str = "taker"
    events_max: int = 50
    interval_s: float = 0.0
    taken: list[AlertMessage] = field(default_factory=list)
    tried: list[str] = field(default_factory=list)

    def send(self, message: AlertMessage) -> None:
        self.tried.append(message.id)
        if self.failures:
            self.failures -= 1
            raise TransportError("nobody there")
        self.taken.append(message)

    @property
    def events(self) -> list[int]:
        return [event.number for message in self.taken for event in message.events]


def event(number: int, subject: str = "pump-1", summary: str = "labels 60", remark: str | None = None) -> AlertEventRow:
    alert = {
        "alert": number, "fleet": "plant", "rule": "mine", "severity": "warning", "subject": subject,
        "summary": summary, "acknowledged_by": "ada", "remark": remark,
    }  # fmt: skip
    change = "acknowledged" if remark else "opened"
    name = hashlib.sha256(str(number).encode()).hexdigest()[:32]
    return AlertEventRow(number, name, change, json.dumps(alert), 1_800_000_000.0)


def add_events(store: Store, count: int) -> None:
    with store.transaction():
        first = store.number("alert_events") + 1
        store.rows(ALERT_EVENTS).put_all([event(number) for number in range(first, first + count)])
        store.put_number("alert_events", first + count - 1)


def began(store: Store, *names: str) -> None:
    with store.transaction():
        begin_channels(store, names)


def channel_row(store: Store, name: str = "taker") -> AlertChannelRow:
    with store.transaction():
        row = store.rows(ALERT_CHANNELS).get(name)
    assert row is not None
    return row


def delivery(store: Store, taker: Taker, clock: Clock, give_up_s: float = 86_400.0) -> Delivery:
    return Delivery("plant", store, taker, give_up_s, clock)


def test_events_are_told_in_order_and_none_of_before_the_channel_was_there() -> None:
    store, taker, clock = MemoryStore(), Taker(), Clock()
    add_events(store, 3)
    began(store, "taker")
    add_events(store, 120)
    began(store, "taker")  # the service starts again
    steps = delivery(store, taker, clock)
    while steps.step():
        continue
    assert taker.events == list(range(4, 124))
    assert [len(message.events) for message in taker.taken] == [50, 50, 20]
    assert not steps.step()


def test_what_comes_between_two_messages_waits_for_the_next() -> None:
    store, taker, clock = MemoryStore(), Taker(interval_s=60.0), Clock()
    began(store, "taker")
    steps = delivery(store, taker, clock)
    for _ in range(130):
        add_events(store, 1)
        steps.step()
        clock.now_s += 1.0
    assert [len(message.events) for message in taker.taken] == [1, 50, 50]
    assert taker.events == list(range(1, 102))


def test_a_message_that_fails_is_sent_again_as_it_was_later_and_later() -> None:
    store, taker, clock = MemoryStore(), Taker(failures=6), Clock()
    began(store, "taker")
    add_events(store, 2)
    steps = delivery(store, taker, clock)
    at = []
    while not taker.taken:
        before = len(taker.tried)
        steps.step()
        if len(taker.tried) > before:
            at.append(clock.now_s)
            add_events(store, 1)  # what comes meanwhile is the next message's
        clock.now_s += 0.5
    assert [later - earlier for earlier, later in pairwise(at)] == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0]
    assert len(set(taker.tried)) == 1
    assert taker.events == [1, 2]
    assert steps.step()
    assert taker.events == list(range(1, 10))


def test_a_kill_after_it_was_taken_sends_the_same_message_once_more_under_its_id() -> None:
    store, taker, clock = MemoryStore(), Taker(), Clock()
    began(store, "taker")
    add_events(store, 2)

    class Killed(Exception):
        pass

    def killed(message: AlertMessage) -> None:
        taker.taken.append(message)
        raise Killed

    taker.send = killed  # type: ignore[method-assign]
    with pytest.raises(Killed):
        delivery(store, taker, clock).step()
    add_events(store, 5)
    again = Taker()
    steps = delivery(store, again, clock)
    while steps.step():
        continue
    assert again.taken[0].id == taker.taken[0].id
    assert again.taken[0].body() == taker.taken[0].body()
    assert again.events == list(range(1, 8))


@pytest.mark.parametrize("fails", [False, True])
def test_a_thread_that_comes_late_does_not_set_the_channel_back(fails: bool) -> None:
    store, clock = MemoryStore(), Clock()
    began(store, "taker")
    add_events(store, 2)
    faster = Taker()

    class Late(Taker):
        def send(self, message: AlertMessage) -> None:
            steps = delivery(store, faster, clock)
            assert steps.step()
            add_events(store, 3)
            assert steps.step()
            super().send(message)

    late = Late(failures=int(fails))
    delivery(store, late, clock).step()
    assert faster.events == [1, 2, 3, 4, 5]
    row = channel_row(store)
    assert (row.told, row.failed_s) == (5, 0.0)


def test_what_is_given_up_is_counted_and_said(caplog: pytest.LogCaptureFixture) -> None:
    store, taker, clock = MemoryStore(), Taker(failures=10_000), Clock()
    began(store, "taker")
    add_events(store, 3)
    steps = delivery(store, taker, clock, give_up_s=600.0)
    while clock.now_s < 1000.0:
        steps.step()
        clock.now_s += 1.0
    assert "taker was not told of 3 events for 600 s: given up" in caplog.text
    row = channel_row(store)
    assert (row.told, row.given_up, row.failed_s) == (3, 3, 0.0)
    taker.failures = 0
    add_events(store, 1)
    assert steps.step()
    assert taker.events == [4]


def test_events_that_the_store_has_forgotten_count_as_given_up(caplog: pytest.LogCaptureFixture) -> None:
    store, taker, clock = MemoryStore(), Taker(), Clock()
    began(store, "taker")
    add_events(store, 30)
    with store.transaction():
        for number in range(1, 11):
            store.rows(ALERT_EVENTS).remove(number)
    assert delivery(store, taker, clock).step()
    assert taker.events == list(range(11, 31))
    assert channel_row(store).given_up == 10
    assert "10 events of alerts were never told by taker" in caplog.text


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    with WebhookReceiver() as running:
        yield running


def webhook(receiver: WebhookReceiver, tmp_path: Path, timeout_s: float = 5.0) -> Webhook:
    file = tmp_path / "secret"
    file.write_text(SECRET + "\n")
    return Webhook(WebhookSettings(receiver.url, file, timeout_s), SystemClock())


def test_what_is_posted_is_signed_as_the_standard_has_it(receiver: WebhookReceiver, tmp_path: Path) -> None:
    message = AlertMessage("plant", [event(1), event(2, subject="pump-2")])
    webhook(receiver, tmp_path).send(message)
    (posted,) = receiver.posted
    name, at = posted.headers["webhook-id"], posted.headers["webhook-timestamp"]
    signed = f"{name}.{at}.".encode() + posted.body
    expected = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
    assert posted.headers["webhook-signature"] == f"v1,{expected}"
    assert name == message.id
    assert abs(int(at) - time.time()) < 60
    assert [each["alert"]["subject"] for each in json.loads(posted.body)["events"]] == ["pump-1", "pump-2"]
    # the example of the standard itself
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    example = signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", b'{"test": 2432232314}')
    assert example == "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (status(500, b"\x1b[2Joh no"), r"127.0.0.1 answered 500: \\x1b\[2Joh no"),
        (status(404), "answered 404"),
        (status(302, Location="http://127.0.0.1:1/elsewhere"), "answered 302: redirects are not followed"),
        (status(301, Location="https://example.org/"), "answered 301: redirects are not followed"),
        (status(200, b"x" * 10_000_000), ""),
        (lambda handler: handler.wfile.write(b"HTTP/1.1 rubbish\r\n\r\n"), r"127.0.0.1: HTTP/1.1 rubbish\\r\\n"),
        (lambda handler: None, "127.0.0.1: "),
        (lambda handler: handler.wfile.write(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000), "127.0.0.1: "),
    ],
    ids=["500", "404", "302", "301", "long", "rubbish", "closed", "headers"],
)
def test_whatever_a_receiver_answers_is_taken_or_one_harmless_line(
    receiver: WebhookReceiver, tmp_path: Path, answer: Callable[[object], None], problem: str
) -> None:
    receiver.script.put(answer)
    channel = webhook(receiver, tmp_path)
    if not problem:
        channel.send(AlertMessage("plant", [event(1)]))
        return
    with pytest.raises(TransportError, match=problem) as refused:
        channel.send(AlertMessage("plant", [event(1)]))
    assert "t0psecret" not in str(refused.value)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 400
    assert len(receiver.posted) == 1


@pytest.mark.parametrize("behave", [hang, drip], ids=["hangs", "drips"])
def test_a_receiver_that_never_ends_is_left_in_time(
    receiver: WebhookReceiver, tmp_path: Path, behave: Callable[[threading.Event], Callable[[object], None]]
) -> None:
    over = threading.Event()
    receiver.script.put(behave(over))
    before = time.monotonic()
    with pytest.raises(TransportError, match="did not answer within 0.3 s"):
        webhook(receiver, tmp_path, timeout_s=0.3).send(AlertMessage("plant", [event(1)]))
    assert time.monotonic() - before < 5.0
    over.set()


def test_after_ten_times_500_everything_is_told(receiver: WebhookReceiver, tmp_path: Path) -> None:
    store, clock = MemoryStore(), Clock()
    began(store, "webhook")
    add_events(store, 60)
    for _ in range(10):
        receiver.script.put(status(500))
    steps = Delivery("plant", store, webhook(receiver, tmp_path), 86_400.0, clock)
    while channel_row(store, "webhook").told < 60:
        steps.step()
        clock.now_s += 60.0
    ids = [posted.headers["webhook-id"] for posted in receiver.posted]
    assert len(ids) == 12
    assert len(set(ids[:11])) == 1
    told = [each["id"] for posted in receiver.posted[10:] for each in json.loads(posted.body)["events"]]
    assert told == [event(number).id for number in range(1, 61)]


@pytest.mark.parametrize(
    ("url", "secret", "problem"),
    [
        ("ftp://example.org/", SECRET, "must be as in https://example.org/alerts"),
        ("https://ada:pw@example.org/", SECRET, "without a user name"),
        ("https://example.org/a b", SECRET, "no address may hold"),
        ("https://example.org/\r\nx: y", SECRET, "no address may hold"),
        ("https://example.org:99999/", SECRET, "cannot be read"),
        ("https://example.org/", "whsec_c2hvcnQ=", "24 bytes in base64"),
        ("https://example.org/", "just-a-password-without-a-form", "24 bytes in base64"),
        ("https://example.org/", "", "is empty"),
    ],
)
def test_an_address_or_a_secret_that_is_none_is_said_and_not_shown(
    tmp_path: Path, url: str, secret: str, problem: str
) -> None:
    file = tmp_path / "secret"
    file.write_text(secret)
    with pytest.raises(ConfigError, match=problem) as refused:
        Webhook(WebhookSettings(url, file), Clock())
    assert not secret or secret not in str(refused.value)


def test_what_is_unsafe_is_said_at_the_start(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "secret"
    file.write_text(SECRET)
    file.chmod(0o600)
    Webhook(WebhookSettings("https://example.org/", file), Clock())
    Webhook(WebhookSettings("http://127.0.0.1:80/", file), Clock())
    assert caplog.text == ""
    file.chmod(0o644)
    Webhook(WebhookSettings("http://example.org/", file), Clock())
    Webhook(WebhookSettings("https://example.org/"), Clock())
    said = "\n".join(record.getMessage() for record in caplog.records)
    for part in ("can be read by everybody on this machine", "is not https", "has no secret_file"):
        assert said.count(part) == 1


@pytest.fixture
def tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """Of a relay whose certificate this machine trusts."""
    authority = Authority(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("relay"))
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca_file))
    return context


def mail_settings(tmp_path: Path, port: int, starttls: bool = True) -> EmailSettings:
    file = tmp_path / "password"
    file.write_text("s3cret\n")
    return EmailSettings(
        "127.0.0.1",
        port,
        starttls,
        "ada",
        file,
        "fleet@example.org",
        ("ada@example.org", "bob@example.org"),
        timeout_s=5.0,
    )


def test_a_mail_leaves_with_tls_a_password_and_an_id_and_no_header_is_forged(
    tmp_path: Path, tls: ssl.SSLContext
) -> None:
    with MailRelay(tls).running() as relay:
        channel = Email(mail_settings(tmp_path, relay.port), SystemClock())
        message = AlertMessage("plant", [event(1, subject=HOSTILE, summary=HOSTILE)])
        channel.send(message)
        channel.send(AlertMessage("plant", [event(1), event(2, remark=HOSTILE)]))
    first, second = relay.mails
    # a long line is folded before its first word
    assert first["Subject"].strip() == r"[plant] warning opened: mine: \x1b[2Jgone\u202e\r\nBcc: mallory@example.org"
    assert (first["To"], first["Bcc"]) == ("ada@example.org, bob@example.org", None)
    assert first["Message-ID"] == f"<{message.id}@example.org>"
    assert second["Subject"] == "[plant] 2 changes of alerts"
    for mail in relay.mails:
        text = mail.get_payload(decode=True).decode()
        assert "\x1b" not in text
        assert "\nBcc" not in text
    assert "acknowledged by ada" in second.get_payload(decode=True).decode()
    assert base64.b64decode(relay.logins[0]) == b"\0ada\0s3cret"


def test_no_mail_leaves_in_the_clear_and_refused_receivers_are_named(tmp_path: Path) -> None:
    with MailRelay().running() as relay:
        with pytest.raises(TransportError, match="STARTTLS"):
            Email(mail_settings(tmp_path, relay.port), SystemClock()).send(AlertMessage("plant", [event(1)]))
        assert (relay.mails, relay.logins) == ([], [])
        relay.refused = "bob@"
        with pytest.raises(TransportError, match=r"not for bob@example\.org"):
            Email(mail_settings(tmp_path, relay.port, starttls=False), SystemClock()).send(
                AlertMessage("plant", [event(1)])
            )
    with pytest.raises(TransportError, match=r"127\.0\.0\.1: Connection refused"):
        Email(mail_settings(tmp_path, relay.port), SystemClock()).send(AlertMessage("plant", [event(1)]))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"to": ()}, "nobody in to"),
        ({"to": ("ada@example.org\r\nBcc: x@example.org",)}, "is no address"),
        ({"sender": "fleet"}, "'fleet' of \\[email\\] is no address"),
        ({"username": ""}, "username and password_file together"),
    ],
)
def test_mail_settings_that_make_no_sense_are_refused(tmp_path: Path, changes: dict[str, object], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        Email(replace(mail_settings(tmp_path, 25), **changes), Clock())  # type: ignore[arg-type]


def test_a_channel_that_hangs_holds_up_no_other_and_ends_with_the_service(
    receiver: WebhookReceiver, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'store.sqlite'}"
    over = threading.Event()
    receiver.script.put(hang(over))
    store = SqlStore(url)
    began(store, "webhook", "taker")
    taker = Taker()

    def opened() -> tuple[Store, Callable[[], None]]:
        own = SqlStore(url)
        return own, own.close

    web, clock = webhook(receiver, tmp_path), SystemClock()
    threads = [
        DeliveryThread(opened, lambda own: Delivery("plant", own, web, 60.0, clock), "web"),
        DeliveryThread(opened, lambda own: Delivery("plant", own, taker, 60.0, clock), "taker"),
    ]
    add_events(store, 2)
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 10.0
    while (not taker.taken or not receiver.posted) and time.monotonic() < deadline:
        # the store is free while a message is on its way
        assert channel_row(store, "webhook").told == 0
    assert taker.events == [1, 2]
    over.set()
    for thread in threads:
        thread.stop(5.0)
    store.close()
    assert len(receiver.posted) == 1
