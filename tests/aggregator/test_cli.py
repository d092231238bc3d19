"""``edge-fleet`` as a person meets it: tables, JSON, one line per mistake with the family's exit code."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aggregator.cli import main
from aggregator.commands.device_list import as_table
from aggregator.registry.derived import typed_row
from aggregator.store.location import sqlite_url
from aggregator.store.sql import SqlStore
from aggregator.store.stored import DeviceRow
from headway.maths.metrics import ClassificationSums
from headway.printable import is_printable
from headway.wire.messages import Metrics, Reported
from tests.edge_agent.variants import variant

REPORTED = Reported("watch", "1.2.0", "s", "exact", "litert", "0.1.0", "x86_64", 12, "lda/source").encode()
SERVED = ClassificationSums(np.array([[6, 1], [1, 4]], np.int64))
FROZEN = ClassificationSums(np.array([[3, 4], [2, 3]], np.int64))
METRICS = Metrics(9, 3, SERVED, FROZEN).encode()
BUSY = DeviceRow("wrist-1", 0.0, 1000.0, True, 2, 0xABCDEF012345, 3, 0, REPORTED, METRICS, 9, 3, 2)
SILENT = DeviceRow("wrist-2", 0.0, 1000.0 - 3 * 86_400)


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    store = SqlStore(sqlite_url(tmp_path))
    with store.transaction():
        store.put_device(BUSY)
        store.put_device(SILENT)
    store.close()
    return tmp_path


def test_the_table_lines_up() -> None:
    assert as_table([typed_row(BUSY), typed_row(SILENT)], 1007.0).splitlines() == [
        "DEVICE   ONLINE  EPOCH   COUNTER  LABELS  SERVED  FROZEN  HEAD        SEEN     BUNDLE",
        "wrist-1  yes     012345  3        12      83.3 %  50.0 %  lda/source  7 s ago  watch 1.2.0",
        "wrist-2  no      0       0        0       -       -       -           3 d ago  -",
    ]


def test_devices_as_a_table_and_as_json(state_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["devices", "--state-dir", str(state_dir)]) == 0
    assert "wrist-1  yes" in capsys.readouterr().out
    assert main(["devices", "--json", "--state-dir", str(state_dir)]) == 0
    first, second = json.loads(capsys.readouterr().out)
    assert (first["device"], first["scored"], first["frozen_accuracy"]) == ("wrist-1", 12, 0.5)
    assert second["served_accuracy"] is None


def test_removing_an_unknown_device_is_an_error(state_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["remove", "wrist-9", "--state-dir", str(state_dir)]) == 2
    assert capsys.readouterr().err.startswith("error: no device 'wrist-9'")


def test_a_bundle_is_ordered_listed_and_withdrawn(
    state_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = ["--state-dir", str(state_dir)]
    bundle = tmp_path / "new.hwb"
    replace(variant(), release=4, version="4.0.0").write(bundle)
    assert main(["deliver", str(bundle), "--devices", "wrist-1", *place]) == 0
    assert capsys.readouterr().out == "ordered walk 4.0.0, release 4 for 1 device\n"
    kept = list((state_dir / "bundles").iterdir())
    assert [path.read_bytes() for path in kept] == [bundle.read_bytes()]
    assert main(["deliveries", "--json", *place]) == 0
    assert json.loads(capsys.readouterr().out) == [
        {"device": "wrist-1", "ordered": "4", "runs": "0", "state": "not told yet"}
    ]
    assert main(["deliver", "--withdraw", "--all", *place]) == 0
    assert capsys.readouterr().out == "ordered no bundle for 2 devices and every device that joins\n"
    assert main(["deliveries", *place]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in lines] == [["wrist-1", "ordered", "none"], ["wrist-2", "ordered", "none"]]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["new.hwb"], 2, "give either --devices NAME ... or --all"),
        (["new.hwb", "--all", "--devices", "wrist-1"], 2, "give either --devices NAME ... or --all"),
        (["--all"], 2, "give either a bundle or --withdraw"),
        (["new.hwb", "--withdraw", "--all"], 2, "give either a bundle or --withdraw"),
        (["new.hwb", "--devices", "wrist-9"], 2, "no device 'wrist-9' in this fleet"),
        (["new.hwb", "--devices", "a/b"], 2, "device 'a/b' is not a valid name"),
        (["none.hwb", "--all"], 5, "cannot read bundle"),
        (["new.hwb", "--all", "--public-key", "key.pub"], 5, "bundle is not signed"),
    ],
)
def test_an_order_that_cannot_be_is_one_line(
    state_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    variant().write(tmp_path / "new.hwb")
    (tmp_path / "key.pub").write_text("headway-ed25519 " + "5a" * 32)
    assert main(["deliver", *arguments, "--state-dir", str(state_dir)]) == code
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["serve"], 2, "give --config FILE, or at least --bundle FILE and --fleet NAME"),
        (["serve", "--config", "/nowhere.toml"], 2, "cannot read /nowhere.toml: No such file"),
        (["serve", "--bundle", "/nowhere.hwb", "--fleet", "a/b"], 2, "fleet 'a/b' is not a valid name"),
        (["serve", "--bundle", "/nowhere.hwb", "--fleet", "f", "--port", "99999"], 2, "port of mqtt"),
        (["serve", "--bundle", "/nowhere.hwb", "--fleet", "f"], 5, "cannot read bundle /nowhere.hwb"),
        (["devices", "--state-dir", "/nowhere"], 7, "no aggregator has stored anything in /nowhere"),
    ],
)
def test_mistakes_are_one_line_with_the_exit_code_of_their_family(
    arguments: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == code
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1


def test_devices_are_named_up_to_the_next_option(state_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    variant().write(state_dir / "new.hwb")
    place = ["--state-dir", str(state_dir)]
    for order in (
        ["--devices", "wrist-1", "wrist-2", *place, str(state_dir / "new.hwb")],
        [str(state_dir / "new.hwb"), "--devices", "wrist-1", "--devices", "wrist-2", *place],
        [*place, str(state_dir / "new.hwb"), "--devices=wrist-1", "--devices", "wrist-2"],
    ):
        assert main(["deliver", *order]) == 0, order
        assert "for 2 devices" in capsys.readouterr().out


def test_an_order_can_be_followed_until_every_device_runs_it(
    state_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = replace(variant(), release=4)
    bundle.write(state_dir / "new.hwb")
    looked = 0

    def tell(seconds: float) -> None:
        """Instead of the aggregator: tells both devices; with each look one more says that it runs the bundle."""
        nonlocal looked
        store = SqlStore(sqlite_url(state_dir))
        with store.transaction():
            for row in [row for row in store.deliveries() if not row.done]:
                store.put_delivery(replace(row, done=True))
            known = replace(Reported.decode(REPORTED), release=4).encode()
            store.put_device(replace((BUSY, SILENT)[looked], reported=known))
        store.close()
        looked += 1

    monkeypatch.setattr("aggregator.commands.deliver.time.sleep", tell)
    arguments = [str(state_dir / "new.hwb"), "--devices", "wrist-1", "wrist-2", "--state-dir", str(state_dir)]
    assert main(["deliver", *arguments, "--wait-s", "60"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:] == ["0 of 2 devices run it", "1 of 2 devices run it", "2 of 2 devices run it"]


def test_devices_that_do_not_come_in_time_are_told_by_the_exit_code(
    state_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    variant().write(state_dir / "new.hwb")
    arguments = [str(state_dir / "new.hwb"), "--all", "--state-dir", str(state_dir)]
    assert main(["deliver", *arguments, "--wait-s", "0.01"]) == 1
    assert "not all of them after 0.01 s" in capsys.readouterr().out
    assert main(["deliver", *arguments, "--wait-s", "nan"]) == 2


def test_a_terminal_gets_a_table_in_which_names_are_no_markup(
    state_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SqlStore(sqlite_url(state_dir))
    with store.transaction():
        store.put_device(replace(BUSY, device="[red]odd[/]"))
    store.close()
    monkeypatch.setenv("COLUMNS", "140")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert main(["devices", "--state-dir", str(state_dir)]) == 0
    shown = capsys.readouterr().out
    assert "───" in shown
    assert "[red]odd[/]" in shown
    assert "DEVICE" not in shown


def test_what_a_device_says_can_neither_forge_a_line_nor_act_on_the_terminal() -> None:
    acting = "\x1b]0;owned\x07\x1b[2Jgood\nother-device  yes"
    reported = Reported(acting, "1", "s", "exact", "litert", "0", "x", 1, "exact\x1b[8m")
    shown = as_table([typed_row(replace(BUSY, reported=reported.encode()))], 1007.0)
    assert len(shown.splitlines()) == 2, "the header and one device"
    assert is_printable("".join(shown.splitlines()))
    assert "\\x1b]0;owned\\x07\\x1b[2Jgood\\nother-device  yes 1" in shown


def test_problems_of_devices_stand_below_the_table(state_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    problem = "disk degraded since 2027-01-15T08:00:00Z: the disk is full\x1b[2J"
    reported = Reported("watch", "1", "s", "exact", "litert", "0", "x", 1, "exact", problem)
    store = SqlStore(sqlite_url(state_dir))
    with store.transaction():
        store.put_device(replace(BUSY, reported=reported.encode()))
    store.close()
    assert main(["devices", "--state-dir", str(state_dir)]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"{BUSY.device}: disk degraded since 2027-01-15T08:00:00Z: the disk is full\\x1b[2J"
