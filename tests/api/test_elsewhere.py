"""``edge-fleet --server URL``: the same commands over the API of another machine print what they print on its own."""

from __future__ import annotations

import io
import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import pytest

from aggregator.access import Role
from aggregator.backup import checked_contents
from aggregator.backup.archive import STORE
from aggregator.cli import main
from aggregator.commands.program import ELSEWHERE, edge_fleet
from aggregator.effects import Instant
from aggregator.policy import Limits
from aggregator.reach import RemoteFleet
from aggregator.registry.registry import Registry
from aggregator.store import EventRow, StoredHead
from aggregator.store.rows import DAYS, HEAD_FIELD, PROPERTIES, SPACES, DayRow, HeadFieldRow, PropertyRow, SpaceRow
from headway.errors import StoreError, TransportError
from headway.maths import ClassificationSums, Head, HeadInput, HeadKind, Task
from headway.wire import Metrics, PublishedHead, Reported
from headway_client import ApiUnreachable, Client
from headway_client.connection import Connection
from testbed.broker import free_port
from tests.api.fleet import NOW_S, Fleet
from tests.api.serving import served
from tests.headway.bundles import small_variant
from tests.page.steering import bundle as with_sample

REPORTED = Reported("watch", "1.2", "5" * 64, "exact", "litert", "0.3", "aarch64", 12, "lda/source", "odd", 3).encode()


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    fleet = Fleet(tmp_path_factory.mktemp("fleet"))
    now = Instant(1.0, NOW_S)
    with fleet.store.transaction():
        registry = Registry(fleet.store, Limits(), lambda space: (3, Task.CLASSIFICATION))
        registry.on_reported("pump-2", REPORTED, now)
        registry.flush(now)
        zeros = Head(
            np.zeros((3, 2), np.float32), np.zeros(2, np.float32), HeadKind.SOFTMAX, ("a", "b"), HeadInput.CODES
        )
        head = PublishedHead(7, "exact", "5" * 64, 2, 40, zeros)
        fleet.store.put_head(StoredHead(7, "exact", "5" * 64, head.encode(), NOW_S), 10)
        better = replace(head, version=8, samples=60, head=replace(zeros, kernel=zeros.kernel + 1))
        fleet.store.put_head(StoredHead(8, "exact", "5" * 64, better.encode(), NOW_S + 60), 10)
        fleet.store.rows(HEAD_FIELD).put(HeadFieldRow("5" * 64, 7, 40, 30, 20))
        confusion = np.arange(9).reshape(3, 3)
        for scored in (confusion, confusion + 1):
            metrics = Metrics(1, int(scored[0, 0]) + 1, ClassificationSums(scored), ClassificationSums(scored.T))
            registry.on_metrics("pump-2", metrics.encode(), now)
            registry.flush(now)
        fleet.store.rows(SPACES).put(SpaceRow("5" * 64, "watch 1.2", NOW_S, 0.0))
        for number in range(1200):
            name, detail = ("drift", '{"by":"error"}') if number % 3 else ("note", "no json")
            fleet.store.add_event(EventRow(f"pump-{1 + number % 2}", name, detail, NOW_S + number), 10_000)
        for day in range(3):
            fleet.store.rows(DAYS).put(DayRow("pump-2", 20_000 + day, 10, 8, 6, 4000))
    (fleet.folder / "two.hwb").write_bytes(small_variant().encode())
    (fleet.folder / "served").mkdir()
    with_sample().write(fleet.folder / "served" / "one.hwb")
    return fleet


@pytest.fixture(scope="module")
def url(fleet: Fleet) -> Iterator[str]:
    with served(fleet.app()) as url:
        yield url


@pytest.fixture
def elsewhere(fleet: Fleet, url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def command(*words: str, role: Role = Role.OPERATOR, code: int = 0) -> str:
        (tmp_path / "token").write_text(fleet.tokens[role] + "\n")
        assert main(["--server", url, "--token-file", str(tmp_path / "token"), *words]) == code
        said = capsys.readouterr()
        return said.out if code == 0 else said.err

    return command


@pytest.fixture
def here(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def command(*words: str) -> str:
        assert main([*words, "--state-dir", str(fleet.folder)]) == 0
        return capsys.readouterr().out

    return command


@pytest.mark.parametrize(
    "words",
    [
        ("devices", "--json"), ("devices", "--filter", "labels > 5", "--json"), ("devices", "--sort", "-labels"),
        ("devices", "--limit", "2", "--json"), ("device", "pump-2", "--json"), ("groups", "--json"), ("deliveries",),
        ("rollout", "list", "--json"), ("audit", "--json"), ("certificates", "--json"),
        ("alerts", "--all", "--json"), ("alert-rules", "list"), ("alert-rules", "list", "--json"), ("silence", "list"),
        ("configuration", "--json"), ("configuration", "pump-1"), ("configuration", "pump-1", "--json"),
        ("commands", "pump-1"), ("commands", "pump-2", "--json"), ("refusals",), ("refusals", "--json"),
        ("heads",), ("heads", "--json"), ("heads", "--field"), ("heads", "--field", "--json"), ("heads", "--versions"),
        ("heads", "--versions", "--json"), ("heads", "--compare", "7", "8"), ("heads", "--compare", "7", "8", "--json"),
        ("device", "pump-2", "--confusion"), ("device", "pump-2", "--confusion", "--json"),
        ("device", "pump-2", "--heads"), ("device", "pump-2", "--heads", "--json"),
        ("device", "pump-1", "--confusion"), ("influence",), ("influence", "--json"),
        ("privacy",), ("privacy", "--json"),
        ("bundles",), ("bundles", "--json"), ("events", "--limit", "1100"),
        ("events", "--json"), ("events", "--device", "pump-2", "--name", "note", "--limit", "150", "--json"),
        ("export", "devices"), ("export", "days"), ("export", "events"), ("export", "refusals"), ("export", "audit"),
        ("watch", "--json"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_what_is_shown_is_the_same(
    here: Callable[..., str], elsewhere: Callable[..., str], words: tuple[str, ...]
) -> None:
    said = here(*words)
    # a list of devices has its keys in the order of who wrote it
    plain: Callable[[str], object] = json.loads if words[0] == "devices" and "--json" in words else str
    assert plain(elsewhere(*words)) == plain(said)
    assert said.count("\n") > 1000 or words not in (("events", "--limit", "1100"), ("export", "events"))


def test_a_backup_comes_over_the_api_whole_and_is_entered_in_the_log(
    fleet: Fleet, elsewhere: Callable[..., str], tmp_path: Path
) -> None:
    file = tmp_path / "fleet.backup"
    said = elsewhere("backup", str(file), role=Role.ADMIN)
    assert said.startswith(f"{file}: ")
    assert "without keys" in said
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir() if "backup" in path.name] == ["fleet.backup"]
    assert STORE in [entry.name for entry in checked_contents(file).files]
    assert list((fleet.folder / "backups").iterdir()) == []
    (entry,) = [entry for entry in json.loads(elsewhere("audit", "--json")) if entry["act"] == "backup"]
    assert entry["who"] == "user:ada"
    assert "is there already" in elsewhere("backup", str(file), role=Role.ADMIN, code=7)
    other = str(tmp_path / "other.backup")
    assert "keys do not leave" in elsewhere("backup", other, "--with-keys", role=Role.ADMIN, code=2)
    assert "needs the role admin" in elsewhere("backup", other, code=2)


def test_a_backup_that_is_cut_off_on_its_way_leaves_nothing(
    fleet: Fleet, elsewhere: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces = iter([b"x" * 1000, b""])
    monkeypatch.setattr(Connection, "_piece", lambda *_: next(pieces))
    said = elsewhere("backup", str(tmp_path / "fleet.backup"), role=Role.ADMIN, code=9)
    assert "sent 1000 of " in said
    assert [path.name for path in tmp_path.iterdir()] == ["token"]


def test_one_backup_is_made_at_a_time_and_its_file_goes_when_nobody_takes_it(
    fleet: Fleet, url: str, tmp_path: Path
) -> None:
    request = urllib.request.Request(f"{url}/v1/backups", b"", fleet.as_(Role.ADMIN) | {"Range": "bytes=0-9"})
    with fleet.store.transaction():
        fleet.store.put_number("filler", 1)
        for number in range(400):  # more than a socket takes at once
            fleet.store.rows(PROPERTIES).put(PropertyRow("pump-3", "tag", f"t{number}", "x" * 50_000))
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 200
        assert int(answer.headers["Content-Length"]) > 20_000_000
        assert answer.read(9) == b"backup.js"
        with pytest.raises(StoreError, match="a backup is being made"):
            RemoteFleet(url, fleet.tokens[Role.ADMIN]).download_backup(io.BytesIO())
    deadline = time.monotonic() + 20
    while list((fleet.folder / "backups").iterdir()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    with fleet.store.transaction():
        fleet.store.rows(PROPERTIES).remove("pump-3")


def test_acts_are_those_of_the_tokens_user(
    fleet: Fleet, elsewhere: Callable[..., str], here: Callable[..., str]
) -> None:
    bundle = str(fleet.folder / "two.hwb")
    assert elsewhere("tag", "pump-1", "--set", "site=north") == "tagged 1 device\n"
    asked = elsewhere("command", "pump-1", "label", "window=w17", "class=walk", "--expires", "30m")
    assert asked.startswith(
        "asked pump-1 to label; it has not said that it takes commands; `edge-fleet commands pump-1`"
    )
    assert elsewhere("commands", "pump-1") == here("commands", "pump-1")
    assert elsewhere("commands", "pump-1", "--json") == here("commands", "pump-1", "--json")
    assert elsewhere("label", "pump-1", "w1=walk", "w2=run").startswith("labelled 2 windows of pump-1; ")
    assert "does not count until" in elsewhere("quarantine", "pump-1", "--reason", "moved")
    assert json.loads(elsewhere("device", "pump-1", "--json"))["quarantined"] == "set aside by hand: moved"
    assert elsewhere("readmit", "pump-1").startswith("readmitted pump-1")
    assert elsewhere("note", "pump-1", "behind the boiler") == "noted on pump-1\n"
    assert elsewhere("groups", "save", "northern", 'tag.site == "north"').endswith("1 device like that now\n")
    assert elsewhere("groups", "list", "canaries", "--add", "pump-1") == "group canaries lists 1 device\n"
    assert elsewhere("groups", "delete", "canaries") == "deleted group canaries\n"
    assert elsewhere("deliver", bundle, "--devices", "pump-1").startswith("ordered watch 1.4.0")
    assert "begins" in elsewhere("rollout", "start", "spring", bundle)
    assert elsewhere("rollout", "halt", "spring", "--remark", "too early") == "asked to halt rollout spring\n"
    assert "spring" in elsewhere("rollout", "show", "spring")
    assert "STAGE" in elsewhere("rollout", "start", "summer", bundle, "--dry-run")
    assert len(elsewhere("enroll", "pump-7").split()) == 1
    said = elsewhere("configure", "--everybody", "sync.interval_s=300")
    assert ("300" in said, "300" in here("configuration")) == (True, True)
    assert elsewhere("configuration") == here("configuration")
    assert elsewhere("alert-rules", "set", "busy", "--devices", "labels > 5", "--for-s", "60") == "rule busy is on\n"
    assert elsewhere("alert-rules", "remove", "busy") == "rule busy is forgotten\n"
    assert elsewhere("alert-rules", "set", "drift", "--off") == "rule drift is off\n"
    assert elsewhere("alert-rules", "list") == here("alert-rules", "list")
    assert elsewhere("alert-rules", "remove", "drift") == "rule drift is as built in\n"
    assert elsewhere("silence", "add", "--device", "pump-1", "--for", "2h").startswith("silence 1 holds until")
    assert "pump-1" in elsewhere("silence", "list")
    assert elsewhere("silence", "end", "1") == "silence 1 is over\n"
    assert elsewhere("users", "add", "max", role=Role.ADMIN).startswith("added max")
    assert elsewhere("users", "role", "max", "operator", role=Role.ADMIN) == "max is operator now\n"
    assert elsewhere("users", "remove", "max", role=Role.ADMIN).startswith("removed max")
    token = elsewhere("tokens", "create", "olga", "--label", "ci").strip()
    assert token.startswith("hwt_")
    told = json.loads(here("audit", "--json"))
    acts = {
        entry["act"]: entry["who"] for entry in told if entry["who"].startswith("user:") and entry["act"] != "backup"
    }
    assert acts == {
        **dict.fromkeys(
            ("tag", "command-label", "label", "quarantine", "readmit"), "user:olga",
        ),
        **dict.fromkeys(
            ("note", "save-group", "list-group", "delete-group", "upload", "deliver", "rollout-start",
             "rollout-halt", "enroll", "create-token", "configure", "set-alert-rule", "remove-alert-rule",
             "silence-alerts", "end-silence"),
            "user:olga",
        ),
        **dict.fromkeys(("add-user", "change-user", "remove-user"), "user:ada"),
    }  # fmt: skip
    assert elsewhere("audit", "--verify").startswith("the chain holds")


def test_every_command_asks_another_server_but_those_of_one_machine() -> None:
    # they serve, keep keys, write files of the machine, or add up all reports
    alone = {
        "api", "broker-config", "completion", "join-server", "keygen", "restore", "serve", "simulate", "verify",
        "worker",
    }  # fmt: skip
    every = set(edge_fleet.list_commands(click.Context(edge_fleet)))
    assert every - ELSEWHERE == alone
    assert every > ELSEWHERE


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("device", "pump-9"), 2, "no device 'pump-9'"),
        (("devices", "--filter", "labels >"), 2, "filter"),
        (("users", "list"), 2, "needs the role admin"),
        (("devices", "--state-dir", "x"), 2, "give either --server"),
        (("serve",), 2, "works on its own machine"),
        (("influence", "--bundle", "x.hwb"), 2, "--bundle is a file of this machine"),
        (("tokens", "create", "ada"), 2, "everybody makes their own tokens"),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, tuple) else "",
)
def test_what_is_refused_is_said_in_one_line(
    elsewhere: Callable[..., str], words: tuple[str, ...], code: int, said: str
) -> None:
    error = elsewhere(*words, code=code)
    assert error.startswith("error: ")
    assert said in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("url", "token", "code", "said"),
    [
        ("http://127.0.0.1:{port}", "hwt_x", 9, "does not answer"),
        ("http://fleet.example", "hwt_x", 2, "in the clear"),
        ("https://fleet.example", "two words", 2, "holds no token"),
        ("https://fleet.example", None, 2, "--token-file"),
    ],
)
def test_a_server_that_cannot_be_asked_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], url: str, token: str | None, code: int, said: str
) -> None:
    file = tmp_path / "token"
    if token is not None:
        file.write_text(token)
    assert main(["--server", url.format(port=free_port()), "--token-file", str(file), "devices"]) == code
    assert said in capsys.readouterr().err


def test_an_act_without_an_answer_is_sent_again_and_done_once(
    fleet: Fleet, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, sent = Client.ask, []

    def lost(self: Client, method: str, path: str, *rest: object) -> object:
        answer = asked(self, method, path, *rest)  # type: ignore[arg-type]
        sent.append(rest[-1])
        if len(sent) == 1:
            raise ApiUnreachable("the answer was lost on its way")
        return answer

    monkeypatch.setattr("headway_client.connection.Connection.ask", lost)
    with fleet.store.transaction():
        before = fleet.store.number("audit_entries")
    RemoteFleet(url, fleet.tokens[Role.OPERATOR]).note("pump-3", "once")
    assert len(sent) == 2
    assert sent[0] == sent[1]
    with fleet.store.transaction():
        assert fleet.store.number("audit_entries") == before + 1

    def silent(*_: object) -> object:
        raise ApiUnreachable("silence")

    monkeypatch.setattr("headway_client.connection.Connection.ask", silent)
    with pytest.raises(TransportError, match="silence; on the machine of its store the same command looks without it"):
        RemoteFleet(url, "t").note("pump-3", "never")
