"""Tells alerts by e-mail through a relay, with STARTTLS unless it is switched off."""

from __future__ import annotations

import json
import smtplib
import ssl
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime

from aggregator.alerts.channels import AlertMessage, read_secret
from aggregator.alerts.settings import EmailSettings
from headway.deadlines import ended_after
from headway.errors import ConfigError, TransportError
from headway.ports import Clock
from headway.printable import printable


class Email:
    """Implements `aggregator.alerts.channels.Channel`. Raises ConfigError for addresses or a password that are none."""

    name, events_max = "email", 500

    def __init__(self, settings: EmailSettings, clock: Clock) -> None:
        self._settings, self._clock, self.interval_s = settings, clock, settings.interval_s
        for address in (settings.sender, *settings.to):
            if "@" not in address or not address.isascii() or not address.isprintable() or set(address) & set(" ,;<>"):
                raise ConfigError(f"{address!r} of [email] is no address; write one as in ada@example.org")
        if not settings.to:
            raise ConfigError("[email] has a host and nobody in to; name who is told")
        file = settings.password_file
        self._password = "" if file is None else read_secret(file, "password_file")
        if bool(self._password) != bool(settings.username):
            raise ConfigError("[email] needs username and password_file together, or none of them")

    def send(self, message: AlertMessage) -> None:
        settings = self._settings
        try:
            relay = smtplib.SMTP(settings.host, settings.port, timeout=settings.timeout_s)
            # what comes in answer is bounded by smtplib; how long it takes is not
            with ended_after(relay.sock, settings.timeout_s), relay:  # type: ignore[arg-type]
                if settings.starttls:
                    relay.starttls(context=ssl.create_default_context())
                if settings.username:
                    relay.login(settings.username, self._password)
                refused = relay.send_message(self._mail(message))
        except smtplib.SMTPException as error:
            raise TransportError(f"{settings.host}: {printable(str(error))[:200]}") from error
        except OSError as error:
            raise TransportError(f"{settings.host}: {error.strerror or error or 'it did not answer'}") from error
        if refused:
            raise TransportError(f"{settings.host} took the mail, but not for {', '.join(sorted(refused))}")

    def _mail(self, message: AlertMessage) -> EmailMessage:
        mail = EmailMessage()
        mail["From"], mail["To"] = self._settings.sender, ", ".join(self._settings.to)
        mail["Subject"] = printable(_subject(message))
        mail["Date"] = format_datetime(datetime.fromtimestamp(self._clock.wall_s(), UTC))
        # a mailbox that gets it twice, after a kill between sending and noting it, can tell
        mail["Message-ID"] = f"<{message.id}@{self._settings.sender.rpartition('@')[2]}>"
        mail["Auto-Submitted"] = "auto-generated"
        # each line by itself: what a device sends must not begin another one
        mail.set_content("\n".join(map(printable, _lines(message))) + "\n")
        return mail


def _subject(message: AlertMessage) -> str:
    if len(message.events) > 1:
        return f"[{message.fleet}] {len(message.events)} changes of alerts"
    event = message.events[0]
    alert = json.loads(event.body)
    return f"[{message.fleet}] {alert['severity']} {event.change}: {alert['rule']}: {alert['subject']}"


def _lines(message: AlertMessage) -> list[str]:
    lines = []
    for event in message.events:
        alert = json.loads(event.body)
        at = datetime.fromtimestamp(event.at_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        by = f" by {alert['acknowledged_by']}: {alert['remark'] or ''}" if event.change == "acknowledged" else ""
        lines += [f"{at}  {event.change}{by}  {alert['severity']}  {alert['rule']}  {alert['subject']}"]
        lines += [f"    {alert['summary']}", f"    alert {alert['alert']}, event {event.id}"]
    return lines
