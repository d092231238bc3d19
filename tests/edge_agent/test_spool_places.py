"""Whatever lies in the spool's folders, under any name: it is read, set aside or named, and stops nothing behind it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import numpy as np
import pytest

from edge_agent.config import AgentConfig, SensorSettings
from edge_agent.loop import DeviceLoop
from edge_agent.sensors import Spool
from edge_agent.sensors.spool import NAME_BYTES_MAX
from edge_agent.store import MemoryStore
from headway.errors import ConfigError, DataError
from tests.device import ManualClock, RecordingTransport, open_device
from tests.edge_agent.variants import windows

CLASSES = ("a", "b")
ODD_NAMES = [
    b"caf\xe9.npz",
    b"\xff\xfe\x80",
    b"two\nlines.npz",
    b"\x1b]0;title\x07.npz",
    b"-rf.npz",
    b"no suffix",
    b"a.NPZ",
    b"quote'\".npz",
    b"back\\slash.npz",
    b"000000000007-a.npz",
    b"claimed.npz",
    b"\xe2\x80\xae.npz",
    b"x" * NAME_BYTES_MAX,
]


class Device:
    """A device on real folders, with a clock of its own."""

    def __init__(self, folder: Path, **settings: float) -> None:
        given = {"poll_interval_s": 0.01, "settle_s": 0.0, **settings}
        self.sensor = SensorSettings(folder / "spool", folder / "predictions", **given)  # type: ignore[arg-type]
        self.config = AgentConfig("pump", "plant", folder / "none.hwb", folder / "state", self.sensor)
        self.config.state_dir.mkdir(exist_ok=True)
        self.spool, self.claimed = folder / "spool", folder / "spool" / "claimed"
        self.rejected, self.answers = folder / "spool" / "rejected", folder / "predictions"
        self.store, self.clock = MemoryStore(), ManualClock()
        self.start()

    def start(self) -> None:
        self.wire = RecordingTransport()
        self.loop: DeviceLoop = open_device(
            self.config, self.clock, self.store, transport=self.wire, folder=self.config.state_dir
        )
        self.loop.start()

    def drop(self, name: bytes, rows: int = 1) -> None:
        part = self.spool / ".part.npz"
        np.savez(part, x=windows(rows)[0])
        os.rename(part, os.fsencode(self.spool) + b"/" + name)

    def turns(self, count: int = 3) -> None:
        for _ in range(count):
            self.clock.now_s += 10.0
            self.loop.turn()

    def problems(self, event: str) -> list[str]:
        return [str(each.detail["problem"]) for each in self.wire.events if each.name == event]

    def names(self, folder: Path) -> list[bytes]:
        return sorted(os.listdir(os.fsencode(folder)))


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return Device(tmp_path)


def settings(tmp_path: Path, **changes: float) -> SensorSettings:
    given = {"settle_s": 0.0, **changes}
    return SensorSettings(tmp_path / "spool", tmp_path / "predictions", **given)  # type: ignore[arg-type]


def test_files_of_odd_names_are_answered_under_them(device: Device) -> None:
    for name in ODD_NAMES:
        device.drop(name)
    device.turns()
    assert device.names(device.answers) == sorted(ODD_NAMES)
    assert device.names(device.rejected) == []
    assert device.names(device.claimed) == []
    assert device.loop.condition.startswith("good")


def test_bad_files_of_odd_names_are_set_aside_under_them_and_told(device: Device) -> None:
    for name in ODD_NAMES:
        Path(os.fsdecode(os.fsencode(device.spool) + b"/" + name)).write_bytes(b"half")
    device.turns()
    assert device.names(device.rejected) == sorted([*ODD_NAMES, *(name + b".reason" for name in ODD_NAMES)])
    told = device.problems("input-rejected")
    assert any(r"caf\udce9.npz" in problem for problem in told)
    assert all(problem.isprintable() for problem in told)


def test_a_name_that_is_too_long_is_refused_and_what_is_behind_it_answered(device: Device) -> None:
    device.drop(b"x" * 255)
    device.drop(b"\xe9" * 251 + b".npz")
    device.drop(b"behind.npz")
    device.turns()
    assert device.names(device.answers) == [b"behind.npz"]
    assert device.names(device.claimed) == []
    reasons = [(device.rejected / name).read_text() for name in os.listdir(device.rejected) if name.endswith("reason")]
    assert len(reasons) == 2
    assert all("its name is longer than 200 bytes; give it a shorter one" in reason for reason in reasons)


def make_odd_things(folder: Path, target: Path) -> dict[str, str]:
    """One of each kind, and what is said of it."""
    (folder / "link.npz").symlink_to(target)
    (folder / "dangling.npz").symlink_to("nowhere")
    (folder / "loop.npz").symlink_to("loop.npz")
    (folder / "tree.npz").symlink_to("/")
    os.mkfifo(folder / "pipe.npz")
    there = os.getcwd()
    os.chdir(folder)  # the path of a socket is short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket.npz")
    os.chdir(there)
    link = "a symbolic link"
    return {
        **dict.fromkeys(("link.npz", "dangling.npz", "loop.npz", "tree.npz"), link),
        "pipe.npz": "a FIFO",
        "socket.npz": "a socket",
    }


@pytest.mark.parametrize("place", ["spool", "claimed"])
def test_links_pipes_and_sockets_are_set_aside_and_named_once(device: Device, tmp_path: Path, place: str) -> None:
    np.savez(tmp_path / "real.npz", x=windows(1)[0])
    kinds = make_odd_things(device.spool if place == "spool" else device.claimed, tmp_path / "real.npz")
    device.drop(b"behind.npz")
    device.start()
    device.turns(6)
    assert device.names(device.answers) == [b"behind.npz"]
    assert device.names(device.spool) == [b"claimed", b"rejected"]
    assert device.names(device.claimed) == []
    said = device.problems("input-rejected")
    assert len(said) == len(kinds)
    for name, kind in kinds.items():
        assert os.path.lexists(device.rejected / name)
        reason = (device.rejected / f"{name}.reason").read_text()
        assert (kind if place == "spool" else "not put into claimed/ by the agent") in reason
    assert (tmp_path / "real.npz").exists()


def test_folders_are_left_where_they_are_and_named_once(device: Device) -> None:
    (device.spool / "folder.npz").mkdir()
    (device.spool / "lost+found").mkdir()
    (device.claimed / "000000000001-folder.npz").mkdir()
    device.drop(b"behind.npz")
    device.start()
    device.turns(6)
    assert device.names(device.answers) == [b"behind.npz"]
    said = device.problems("input-ignored")
    assert len(said) == 2
    assert any("folder.npz is a folder; only files in" in problem for problem in said)
    assert any("000000000001-folder.npz was not put there by the agent" in problem for problem in said)


def test_a_folder_in_the_place_of_an_answer_refuses_that_file_alone(device: Device) -> None:
    (device.answers / "a.npz").mkdir()
    device.drop(b"a.npz")
    device.drop(b"b.npz")
    device.turns()
    assert (device.answers / "b.npz").is_file()
    assert "its answer would replace the folder" in (device.rejected / "a.npz.reason").read_text()


def test_files_called_like_the_spools_own_folders_are_taken_in(device: Device) -> None:
    for folder in (device.claimed, device.rejected):
        folder.rmdir()
        folder.write_bytes(b"junk")
    device.drop(b"behind.npz")
    device.turns()
    assert device.names(device.answers) == [b"behind.npz"]
    assert device.names(device.spool) == [b"claimed", b"rejected"]
    assert b"claimed.file" in device.names(device.rejected)


def test_what_is_rejected_under_a_taken_name_replaces_nothing(device: Device) -> None:
    for content in (b"first", b"second"):
        for name in ("a.npz.reason", "a.npz"):
            (device.spool / name).write_bytes(content)
            device.turns()
    (device.rejected / "folder.npz").mkdir()
    (device.spool / "folder.npz").write_bytes(b"third")
    device.turns()
    contents = [path.read_bytes() for path in device.rejected.iterdir() if path.is_file()]
    assert [contents.count(content) for content in (b"first", b"second", b"third")] == [2, 2, 1]
    assert len(contents) == 10


@pytest.mark.parametrize("gone", ["inside", "spool", "predictions", "all"])
def test_folders_that_somebody_removed_are_made_again_which_is_said(device: Device, gone: str) -> None:
    device.drop(b"a.npz")
    device.turns()
    folders = {"inside": [device.claimed, device.rejected], "spool": [device.spool], "predictions": [device.answers]}
    for folder in folders.get(gone, [device.spool, device.answers]):
        os.system(f"rm -rf '{folder}'")
    device.turns()
    device.drop(b"b.npz")
    (device.spool / "bad.npz").write_bytes(b"junk")
    device.turns()
    assert b"b.npz" in device.names(device.answers)
    assert device.names(device.rejected) == [b"bad.npz", b"bad.npz.reason"]
    assert any("was gone and is made again" in problem for problem in device.problems("input-ignored"))
    assert device.loop.condition.startswith("good")


def test_a_claimed_file_that_is_taken_away_or_exchanged_is_one_refusal(tmp_path: Path) -> None:
    spool = Spool(settings(tmp_path))

    def folder(path: Path) -> None:
        path.unlink()
        path.mkdir()

    def link(path: Path) -> None:
        path.unlink()
        path.symlink_to("/dev/zero")

    for sequence, change in enumerate((Path.unlink, folder, link, lambda path: os.truncate(path, 3)), 1):
        np.savez(tmp_path / "spool" / "a.npz", x=windows(1)[0])
        (file,) = spool.claim(sequence)
        change(file.path)  # type: ignore[operator]
        with pytest.raises(DataError, match=r"a\.npz"):
            spool.read(file, CLASSES, new_classes=False)
        spool.reject(file, "bad")
        spool.release(file)
    assert len(list((tmp_path / "spool" / "rejected").glob("*.reason"))) == 4


def test_a_file_of_a_number_that_was_never_given_is_no_danger_to_the_numbers(device: Device) -> None:
    for number in ("999999999999999", "202601011200", "000000000001"):
        (device.claimed / f"{number}-a.npz").write_bytes(b"junk")
    device.start()
    device.drop(b"b.npz")
    device.turns()
    assert device.names(device.claimed) == []
    assert device.loop.agent.sync_state.consumed == 2


def test_the_answers_may_not_go_into_the_spool_itself(tmp_path: Path) -> None:
    for folder in ("spool", "spool/claimed", "spool/rejected"):
        with pytest.raises(ConfigError, match="is one of the spool's own folders"):
            Spool(SensorSettings(tmp_path / "spool", tmp_path / folder))


def test_a_flood_of_bad_files_is_no_flood_of_notes(device: Device) -> None:
    for number in range(300):
        (device.spool / f"b{number}.npz").write_bytes(b"junk")
    device.turns(20)
    said = device.problems("input-rejected")
    assert len(os.listdir(device.rejected)) == 600
    assert 0 < len(said) <= 20, "ten a minute, then how many more there were"
    device.clock.now_s += 3600.0
    (device.spool / "later.npz").write_bytes(b"junk")
    device.turns()
    assert device.problems("input-rejected")[-1].startswith("later.npz is ")


def test_arrays_that_mean_nothing_are_named_once(device: Device) -> None:
    for number in range(3):
        np.savez(device.spool / f"{number}.npz", x=windows(2)[0], time=[1, 2])
        device.turns()
    assert len(device.names(device.answers)) == 3
    assert device.problems("input-ignored") == [
        "0.npz also holds ['time'], which mean nothing here: x, y and id are read"
    ]


def test_misnamed_labels_are_refused_before_anything_is_answered(device: Device) -> None:
    x, y = windows(2)
    np.savez(device.spool / "a.npz", x=x, labels=y)
    device.turns()
    assert device.names(device.answers) == []
    assert "did you mean 'y' by 'labels'?" in (device.rejected / "a.npz.reason").read_text()
