"""`edge-fleet backup` and `restore`: one consistent file, refused when anything in it changed, put back at once."""

from __future__ import annotations

import fcntl
import os
import random
import re
import shutil
import stat
import tarfile
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from aggregator.audit import problems, record
from aggregator.backup import make_backup, restore
from aggregator.cli import main
from aggregator.enrolment.authority import Authority
from aggregator.store import DeviceRow, Store
from aggregator.store.location import sqlite_url
from aggregator.store.rows import (
    AUDIT,
    CERTIFICATES,
    JOIN_CODES,
    TOKENS,
    USERS,
    CertificateRow,
    JoinCodeRow,
    TokenRow,
    UserRow,
)
from aggregator.store.sql import SqlStore
from headway.errors import StoreError
from headway.private_keys import generate_key
from tests.aggregator.fleets import Fleet, heads, statistics_message, tables
from tests.aggregator.test_migrations import earlier
from tests.aggregator.test_prior_differences import started

NOW_S = 1.8e9
CERTIFICATE = CertificateRow("a1", "pump-1", "[]", "c" * 64, "d" * 64, b"pem", 1.0, 2e9, 0.0)
CODE = JoinCodeRow("c" * 64, "pump-1", "[]", 0, 1, 1.0, 2e9)


def store_in(folder: Path) -> SqlStore:
    folder.mkdir(exist_ok=True)
    return SqlStore(sqlite_url(folder))


def run(*words: str) -> int:
    return main([*words])


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    store = store_in(folder)
    with store.transaction():
        store.put_device(DeviceRow("pump-1", 1.0, 2.0))
        record(store, "local:ada", "tag", "pump-1", NOW_S)
        store.rows(CERTIFICATES).put(CERTIFICATE)
        store.rows(JOIN_CODES).put(CODE)
        store.rows(USERS).put(UserRow("ada", "admin", "", 1.0))
        store.rows(TOKENS).put(TokenRow("e" * 64, "eeee", "ada", "laptop", "admin", 1.0, 2e9))
    store.close()
    (folder / "bundles").mkdir()
    (folder / "bundles" / f"{'b' * 64}.hwb").write_bytes(b"a bundle")
    (folder / "served").mkdir()
    (folder / "served" / f"{'d' * 64}.hwb").write_bytes(b"a bundle of another feature space")
    Authority.open(folder, "plant", NOW_S)
    return folder


@pytest.fixture
def backup(state_dir: Path, tmp_path: Path) -> Path:
    assert run("backup", str(tmp_path / "fleet.backup"), "--with-keys", "--state-dir", str(state_dir)) == 0
    return tmp_path / "fleet.backup"


def content(folder: Path) -> dict[str, object]:
    """What a state folder holds, the audit log left out."""
    store = SqlStore(sqlite_url(folder))
    with store.transaction():
        found: dict[str, object] = {"devices": store.devices(), "certificates": store.rows(CERTIFICATES).all()}
    store.close()
    files = [*(folder / "bundles").glob("*"), *(folder / "served").glob("*"), *(folder / "authority").glob("ca.*")]
    return found | {path.name: path.read_bytes() for path in files}


def test_what_was_backed_up_comes_back_on_an_empty_machine(
    state_dir: Path, backup: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    with tarfile.open(backup) as archive:
        assert archive.getnames()[:2] == ["backup.json", "aggregator.sqlite"]
    capsys.readouterr()
    assert run("restore", str(backup), "--state-dir", str(tmp_path / "other")) == 0
    said = capsys.readouterr().out
    assert "1 devices" in said
    assert "is kept" not in said
    assert content(tmp_path / "other") == content(state_dir)
    assert (tmp_path / "other" / "served" / f"{'d' * 64}.hwb").exists()
    for name in ("ca.key", "aggregator.sqlite"):
        (file,) = (tmp_path / "other").rglob(name)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert not [path for path in (tmp_path / "other").iterdir() if path.name.startswith(".")]
    # the authority is the same one, so devices go on trusting it
    assert Authority.open(tmp_path / "other", "plant", NOW_S).pem == Authority.open(state_dir, "plant", NOW_S).pem


def test_keys_are_in_it_only_on_request(state_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "public.backup"
    assert run("backup", str(target), "--state-dir", str(state_dir)) == 0
    assert "without keys" in capsys.readouterr().out
    secret = (state_dir / "authority" / "ca.key").read_bytes()
    assert secret not in target.read_bytes()
    # the key that seals heads is in none, also where somebody keeps it in the state folder
    generate_key(state_dir / "heads.pem")
    assert run("backup", str(tmp_path / "all.backup"), "--state-dir", str(state_dir), "--with-keys") == 0
    assert secret in (tmp_path / "all.backup").read_bytes()
    assert (state_dir / "heads.pem").read_bytes() not in (tmp_path / "all.backup").read_bytes()
    capsys.readouterr()
    assert run("restore", str(target), "--state-dir", str(tmp_path / "other")) == 0
    assert "the backup has no keys" in capsys.readouterr().out
    assert not (tmp_path / "other" / "authority").exists()


def test_a_backup_is_never_written_over(state_dir: Path, backup: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = backup.read_bytes()
    assert run("backup", str(backup), "--state-dir", str(state_dir)) == 7
    assert capsys.readouterr().err == f"error: {backup} is there already; give the backup another name\n"
    assert backup.read_bytes() == before


def test_a_backup_that_fails_leaves_no_file(
    state_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").mkdir()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("headway.durable.os.fsync", full)
    assert run("backup", str(tmp_path / "out" / "b"), "--state-dir", str(state_dir)) == 7
    assert "No space left on device" in capsys.readouterr().err
    assert list((tmp_path / "out").iterdir()) == []


def test_a_damaged_store_is_not_backed_up(state_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = state_dir / "aggregator.sqlite"
    payload = bytearray(file.read_bytes())
    for start in range(4096, len(payload), 4096):
        payload[start + 8 : start + 64] = os.urandom(56)
    file.write_bytes(payload)
    assert run("backup", str(tmp_path / "b"), "--state-dir", str(state_dir)) == 7
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "b").exists()


def test_transactions_during_a_backup_are_in_it_whole_or_not_at_all(tmp_path: Path) -> None:
    store = store_in(tmp_path / "state")
    stop, written = threading.Event(), []

    def write() -> None:
        mine = store_in(tmp_path / "state")
        for number in range(1, 100_000):
            with mine.transaction():
                mine.put_number("first", number)
                mine.put_device(DeviceRow(f"d{number % 50}", 0.0, float(number), reported=bytes(3000)))
                mine.put_number("last", number)
            written.append(number)
            if stop.is_set():
                break
        mine.close()

    writer = threading.Thread(target=write)
    writer.start()
    database = tmp_path / "state" / "aggregator.sqlite"
    seen = []
    try:
        for number in range(8):
            while len(written) < 5 * number:
                assert writer.is_alive()
            make_backup(tmp_path / f"{number}.backup", tmp_path / "state", database, False, "", NOW_S)
    finally:
        stop.set()
        writer.join()
    store.close()
    for number in range(8):
        other = tmp_path / f"restored-{number}"
        other.mkdir()
        restore(tmp_path / f"{number}.backup", other, other / "aggregator.sqlite", "", "local:ada", NOW_S)
        copy = SqlStore(sqlite_url(other))
        with copy.transaction():
            assert copy.number("first") == copy.number("last")
            assert len(copy.devices()) == min(50, copy.number("first"))
            seen.append(copy.number("first"))
        copy.close()
    assert seen == sorted(set(seen)), "the writer was held up by the backups"


def test_no_changed_byte_and_no_cut_goes_unnoticed(state_dir: Path, backup: Path, tmp_path: Path) -> None:
    payload, wanted = backup.read_bytes(), content(state_dir)
    lots = random.Random(5)
    damaged = [payload[: lots.randrange(len(payload) - 1024)] for _ in range(15)] + [b"", b"x" * 700]
    for _ in range(40):
        place = lots.randrange(2000) if lots.random() < 0.5 else lots.randrange(len(payload))
        changed = bytearray(payload)
        changed[place] ^= 1 << lots.randrange(8)
        damaged.append(bytes(changed))
    refused = 0
    for number, broken in enumerate(damaged):
        file, other = tmp_path / f"damaged-{number}", tmp_path / f"other-{number}"
        file.write_bytes(broken)
        other.mkdir()
        try:
            restore(file, other, other / "aggregator.sqlite", "", "local:ada", NOW_S)
        except StoreError:
            refused += 1
            nothing_happened = list(other.iterdir()) == []
        else:
            # of what tar itself fills up with, which nothing is read from
            nothing_happened = content(other) == wanted
        assert nothing_happened, (number, "a damaged backup was restored")
    assert refused > 40


def test_a_name_that_leads_out_of_the_folder_is_refused(backup: Path, tmp_path: Path) -> None:
    from aggregator.backup.archive import write_archive

    secret = tmp_path / "secret"
    secret.write_bytes(b"x")
    for name in ("../evil", "/etc/evil", "bundles/../../evil", "authority/.hidden", "bundles/a/b"):
        evil = tmp_path / f"evil-{abs(hash(name))}"
        write_archive(evil, {"aggregator.sqlite": secret, name: secret}, NOW_S, "", "0", 4)
        with pytest.raises(StoreError, match="which no backup holds"):
            restore(evil, tmp_path / "other", tmp_path / "other" / "aggregator.sqlite", "", "x", NOW_S)


def test_a_store_that_is_open_anywhere_is_not_replaced(
    state_dir: Path, backup: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (state_dir / "aggregator.sqlite").read_bytes()
    with (state_dir / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert run("restore", str(backup), "--state-dir", str(state_dir)) == 7
    assert "another aggregator runs on" in capsys.readouterr().err
    other_program = SqlStore(sqlite_url(state_dir))
    with other_program.transaction():
        other_program.put_number("open", 1)
    assert run("restore", str(backup), "--state-dir", str(state_dir)) == 7
    said = capsys.readouterr().err
    assert "another program has" in said
    assert said.count("\n") == 1
    other_program.close()
    assert run("restore", str(backup), "--state-dir", str(state_dir)) == 0
    (kept,) = state_dir.glob("aggregator.sqlite.before-*")
    assert len(kept.read_bytes()) >= len(before)


def test_who_was_shut_out_since_stays_out_and_the_log_goes_on(
    state_dir: Path, backup: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = SqlStore(sqlite_url(state_dir))
    with store.transaction():
        store.rows(CERTIFICATES).put(replace(CERTIFICATE, revoked_s=NOW_S))
        store.rows(CERTIFICATES).put(replace(CERTIFICATE, serial="a2", device="pump-2"))
        store.rows(JOIN_CODES).put(replace(CODE, used=1))
        store.put_number("boot", 7)
        store.rows(TOKENS).remove("e" * 64)
        store.rows(USERS).put(UserRow("ada", "viewer", "", 1.0))
        record(store, "local:ada", "revoke", "pump-1", NOW_S)
        store.put_device(DeviceRow("pump-2", 1.0, 2.0))
    store.close()
    capsys.readouterr()
    assert run("restore", str(backup), "--state-dir", str(state_dir)) == 0
    said = capsys.readouterr().out
    assert "local:ada  revoke pump-1" in said
    assert "backup" not in said.split("done again:")[1].split("start the service")[0]
    store = SqlStore(sqlite_url(state_dir))
    with store.transaction():
        assert [row.device for row in store.devices()] == ["pump-1"]
        assert [(row.serial, row.revoked_s) for row in store.rows(CERTIFICATES).all()] == [("a1", NOW_S), ("a2", 0.0)]
        assert [row.used for row in store.rows(JOIN_CODES).all()] == [1]
        assert store.number("boot") == 7
        assert store.rows(TOKENS).all() == []
        assert [user.role for user in store.rows(USERS).all()] == ["viewer"]
        assert [row.act for row in store.rows(AUDIT).all()] == ["tag", "backup", "revoke", "restore"]
        assert problems(store) == []
    store.close()


def test_a_damaged_store_is_replaced_and_kept(
    state_dir: Path, backup: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = content(state_dir)
    (state_dir / "aggregator.sqlite").write_bytes(b"not a database" * 1000)
    (state_dir / "aggregator.sqlite-wal").write_bytes(b"what was beside it")
    assert run("restore", str(backup), "--state-dir", str(state_dir)) == 0
    assert "the old store cannot be read" in capsys.readouterr().out
    assert content(state_dir) == wanted
    kept = sorted(path.read_bytes() for path in state_dir.glob("aggregator.sqlite.before-*"))
    assert kept == sorted([b"not a database" * 1000, b"what was beside it"])


def test_killed_anywhere_it_is_the_old_store_or_the_new_one_and_can_be_done_again(
    state_dir: Path, backup: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = content(state_dir)
    store = SqlStore(sqlite_url(state_dir))
    with store.transaction():
        store.put_device(DeviceRow("pump-9", 1.0, 2.0))
    store.close()
    (state_dir / "bundles" / f"{'b' * 64}.hwb").unlink()
    old = content(state_dir)

    class Killed(BaseException):
        pass

    def kill_at(number: int, name: str) -> None:
        real: Callable[..., object] = getattr(os, name)

        def counting(*given: object, **named: object) -> object:
            left[0] -= 1
            if left[0] == 0:
                raise Killed
            return real(*given, **named)

        monkeypatch.setattr(os, name, counting)
        left[0] = number

    left, ended = [0], []
    for name in ("replace", "fsync", "link"):
        for number in range(1, 20):
            folder = tmp_path / f"{name}-{number}"
            shutil.copytree(state_dir, folder)
            with monkeypatch.context():
                kill_at(number, name)
                try:
                    restore(backup, folder, folder / "aggregator.sqlite", "", "x", NOW_S)
                    killed = False
                except Killed:
                    killed = True
                left[0] = 0
            monkeypatch.undo()
            found = content(folder)
            assert found["devices"] in (old["devices"], new["devices"])
            ended.append(found["devices"] == new["devices"])
            restore(backup, folder, folder / "aggregator.sqlite", "", "x", NOW_S)
            assert content(folder) == new
            if not killed:
                break
    assert True in ended
    assert False in ended


def test_what_cannot_be_restored_is_one_line(
    state_dir: Path, backup: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = "[fleet]\nname = 'plant'\n[bundle]\npath = 'x.hwb'\n[storage]\nstate_dir = 'state'\n"
    (tmp_path / "plant.toml").write_text(config)
    (tmp_path / "other.toml").write_text(config.replace("'plant'", "'other'"))
    url = 'database_url = "postgresql://ada:secret@localhost/fleet"\n'
    (tmp_path / "sql.toml").write_text(config + url)
    named = tmp_path / "named.backup"
    assert run("backup", str(named), "--config", str(tmp_path / "plant.toml")) == 0
    capsys.readouterr()
    later = tmp_path / "later.backup"
    store = SqlStore(sqlite_url(state_dir))
    with store.transaction():
        store.put_number("schema", 1000)
    store.close()
    assert run("backup", str(later), "--state-dir", str(state_dir)) == 0
    capsys.readouterr()
    for code, message, words in (
        (7, "is of fleet 'plant', the configuration of 'other'", ["restore", str(named), "--config", "other.toml"]),
        (7, "has schema 1000; this program reads", ["restore", str(later), "--state-dir", str(tmp_path / "n")]),
        (7, "cannot read", ["restore", str(tmp_path / "none"), "--state-dir", str(tmp_path / "n")]),
        (2, "the store is postgresql, which has tools of its own", ["backup", "x", "--config", "sql.toml"]),
        (2, "pg_restore", ["restore", str(named), "--config", "sql.toml"]),
        (7, "no aggregator has stored anything in", ["backup", "x", "--state-dir", str(tmp_path / "n")]),
    ):  # fmt: skip
        words = [str(tmp_path / word) if word.endswith(".toml") else word for word in words]
        assert run(*words) == code, words
        said = capsys.readouterr().err
        assert message in said
        assert said.count("\n") == 1
        assert "secret" not in said


def test_a_store_of_an_earlier_schema_is_backed_up_as_it_is_and_restored_up_to_date(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    earlier(sqlite_url(tmp_path / "state"), 3)
    before = (tmp_path / "state" / "aggregator.sqlite").read_bytes()
    assert run("backup", str(tmp_path / "b"), "--state-dir", str(tmp_path / "state")) == 0
    assert (tmp_path / "state" / "aggregator.sqlite").read_bytes() == before
    assert run("restore", str(tmp_path / "b"), "--state-dir", str(tmp_path / "other")) == 0
    store = SqlStore(sqlite_url(tmp_path / "other"))
    with store.transaction():
        assert store.statistics("a", 1) is not None
    store.close()


def set_back(store: Store, folder: Path, act: Callable[[], None]) -> SqlStore:
    """Back the store of a running fleet up, let `act` happen, and put the backup in its place."""
    database = folder / "aggregator.sqlite"
    make_backup(folder / "b", folder, database, False, "", NOW_S)
    act()
    assert isinstance(store, SqlStore)
    store.close()
    restore(folder / "b", folder, database, "", "x", NOW_S)
    return SqlStore(sqlite_url(folder))


def test_versions_of_heads_go_on_though_the_broker_forgot_them(tmp_path: Path) -> None:
    fleet = Fleet(store=store_in(tmp_path))
    fleet.send(statistics_message("a", 1, 1, tables(20, 1)))
    assert heads(fleet.pass_time(1.0))[-1].version == 1

    def learn() -> None:
        for counter in range(2, 6):
            fleet.send(statistics_message("a", 1, counter, tables(20 + counter, 1)))
            fleet.pass_time(1.0)

    restored = Fleet(store=set_back(fleet.store, tmp_path, learn))
    assert heads(restored.pass_time(1.0))[-1].version == 6
    restored.send(statistics_message("a", 1, 5, tables(25, 1)))
    assert heads(restored.pass_time(1.0))[-1].samples == 25
    assert isinstance(restored.store, SqlStore)
    restored.store.close()


def test_what_was_told_after_the_backup_is_no_base_of_what_is_told_next(tmp_path: Path) -> None:
    """Else whoever knows the sum that was told since would be left with a few windows of one device."""
    growing = started(store_in(tmp_path))
    before = growing.ask()

    def tell_more() -> None:
        for name in ("a", "b", "c"):
            growing.learn(name, 12)
        assert growing.ask() != before

    restored = set_back(growing.fleet.store, tmp_path, tell_more)
    growing.fleet = Fleet(growing.fleet.policy, restored)
    for name in growing.held:
        growing.report(name)
    assert growing.ask() is None, "nothing is told before enough is new"
    growing.fleet.restart()
    assert growing.ask() is None
    for name in ("a", "b", "c", "d", "e"):
        growing.learn(name, 20)
    growing.report("a")
    assert growing.ask() is not None
    restored.close()


def test_the_pages_commands_run(state_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aggregator.commands.place.STATE_DIR", str(state_dir))
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).parents[2] / "docs" / "howto" / "backup.md").read_text()
    blocks = re.findall(r"```console\n(.*?)```", page, re.DOTALL)
    commands = [line.removeprefix("$ edge-fleet ").split() for block in blocks for line in block.splitlines()]
    assert [command[0] for command in commands] == ["backup", "backup", "restore"]
    for command in commands:
        assert run(*command) == 0, command
