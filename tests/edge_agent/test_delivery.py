"""A bundle over the air, step by step: what stops it, and what a power cut after each step leaves behind."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from edge_agent.delivery.installer import ATTEMPTS_MAX, Installer
from edge_agent.delivery.ports import Examined, SelfTest, Trials
from edge_agent.delivery.slots import FACTORY, Pointer, Slots
from edge_agent.delivery_settings import DeliverySettings
from headway.errors import DataError, RemoteError, StoreError
from headway.wire.bundle_transfer import CHUNK_BYTES_MAX, WITHDRAWN, Desired, FileRange, RangeRequest

OLD, NEW = b"the bundle of the factory", np.random.default_rng(3).bytes(3 * CHUNK_BYTES_MAX - 1000)
SPACES = {1: "1" * 64, 2: "2" * 64}
GOOD = Examined("", SPACES[2], "identity", 1.5)


class PowerCut(BaseException):
    """The device is off."""


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def desired(data: bytes = NEW, release: int = 2) -> Desired:
    return Desired(sha256(data), len(data), "watch", "2.0.0", release)


@dataclass
class FakeTest:
    """A self-test that is over at once."""

    result: Examined | None
    stopped: bool = False

    def poll(self) -> Examined | None:
        return self.result

    def stop(self) -> None:
        self.stopped = True


@dataclass
class Device:
    """A device on a real disk; `cut_after` a step (or its n-th occurrence) the power goes, and `boot` starts again."""

    folder: Path
    settings: DeliverySettings = field(default_factory=lambda: DeliverySettings(trial_s=60.0))
    tested: Examined | None = GOOD
    cut_after: str = ""
    cut_at: int = 1
    now_s: float = 1000.0
    trials: Trials | None = None
    tests: list[FakeTest] = field(default_factory=list)
    news: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        (self.folder / "factory.hwb").write_bytes(OLD)
        self.boot()

    def boot(self) -> None:
        """What a start does with the slots (edge_agent/startup/active_bundle.py)."""
        self.slots = Slots(self.folder, self.folder / "factory.hwb", self._step)
        if self.slots.count_start() >= self.settings.starts_max:
            self.slots.roll_back("starts came to nothing")
        release = 1 if self.slots.pointer.active == FACTORY else 2
        running = sha256(self.slots.bundle.read_bytes())
        self.delivery = Installer(
            self.slots,
            self.settings,
            (release, SPACES[release]),
            running,
            lambda: (5, 7),
            self._test,
            self.now_s,
            trials=self.trials,
        )

    def _test(self, bundle: Path, release_min: int) -> SelfTest:
        assert sha256(bundle.read_bytes()) == sha256(NEW)
        assert release_min == 2
        self.tests.append(FakeTest(self.tested))
        return self.tests[-1]

    def _step(self, name: str) -> None:
        if name == self.cut_after:
            self.cut_at -= 1
            if self.cut_at == 0:
                raise PowerCut

    def turn(self, seconds: float = 0.0) -> RangeRequest | None:
        self.now_s += seconds
        request = self.delivery.turn(self.now_s, connected=True)
        self.news += [item.name for item in self.delivery.take_events()]
        return None if request is None else RangeRequest.decode(request)

    def give(self, request: RangeRequest, data: bytes = NEW, *, pace_s: float = 0.0, size: int | None = None) -> None:
        part = data[request.offset : request.offset + request.length]
        message = FileRange(request.sha256, request.offset, size or len(data), pace_s, part)
        self.delivery.received(message.encode(), self.now_s)

    def fetch(self, data: bytes = NEW) -> int:
        """Ask and be answered until nothing more is asked for; returns how many ranges came."""
        ranges = 0
        while (request := self.turn()) is not None:
            self.give(request, data)
            ranges += 1
        return ranges

    def deliver(self) -> None:
        """Everything up to the restart with the new bundle, in as many lives as it takes."""
        for _ in range(10):
            try:
                self.delivery.reconnected()
                self.delivery.desired(desired().encode())
                self.fetch()
                self.turn()
                if self.delivery.restart or self.slots.pointer.active != FACTORY:
                    return
            except PowerCut:
                self.cut_after = ""
                self.boot()
        raise AssertionError("the delivery came to no end")

    @property
    def running(self) -> bytes:
        return self.slots.bundle.read_bytes()


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return Device(tmp_path)


def test_the_whole_way(device: Device) -> None:
    device.delivery.desired(desired().encode())
    assert device.delivery.state == f"release 2: 0 of {len(NEW)} bytes"
    assert device.fetch() == 3
    assert device.delivery.restart
    assert device.slots.pointer.spaces == {"factory": SPACES[1], "a": SPACES[2]}
    device.delivery.stop(device.now_s)
    device.boot()
    assert device.running == NEW
    assert device.delivery.state == "release 2 on trial"
    assert device.slots.store_dir == device.folder / f"space-{'2' * 16}"
    assert (device.slots.pointer.boot, device.slots.pointer.consumed) == (5, 7)
    device.turn(59.0)
    assert not device.slots.pointer.confirmed
    device.turn(2.0)
    assert device.slots.pointer.confirmed
    assert device.slots.pointer.floor == 2
    assert device.news == [
        "delivery-started",
        "delivery-verified",
        "delivery-tested",
        "delivery-switched",
        "delivery-confirmed",
    ]
    device.boot()
    assert device.running == NEW


def killed_after(step: str, device: Device, at: int = 1) -> None:
    """The power goes after a step; afterwards the device must end with the new bundle, confirmed, and nothing else."""
    device.cut_after, device.cut_at = step, at
    device.deliver()
    try:
        device.boot()
    except PowerCut:
        device.boot()
    assert device.running == NEW
    device.turn(61.0)
    assert device.slots.pointer.confirmed
    assert device.slots.pointer.refused == {}


def test_killed_after_a_chunk_resumes_there(device: Device) -> None:
    device.cut_after, device.cut_at = "chunk", 2
    device.delivery.desired(desired().encode())
    with pytest.raises(PowerCut):
        device.fetch()
    device.boot()
    request = device.turn()
    assert request is not None
    assert request.offset == CHUNK_BYTES_MAX  # the last range may be torn, so it comes again; the first does not
    killed_after("", device)


@pytest.mark.parametrize("torn", [1, 1000, CHUNK_BYTES_MAX - 1, CHUNK_BYTES_MAX])
def test_killed_in_the_middle_of_a_write_the_torn_range_comes_again(device: Device, torn: int) -> None:
    device.delivery.desired(desired().encode())
    for _ in range(2):
        request = device.turn()
        assert request is not None
        device.give(request)
    # the file has its new length, but the blocks of the last write never reached the disk
    with (device.slots.idle / "bundle.part").open("r+b") as file:
        file.truncate(CHUNK_BYTES_MAX)
        file.truncate(CHUNK_BYTES_MAX + torn)
    device.boot()
    killed_after("", device)


def test_killed_after_the_first_byte_of_a_delivery(device: Device) -> None:
    device.delivery.desired(desired().encode())
    device.boot()
    assert device.turn() == RangeRequest(sha256(NEW), 0, CHUNK_BYTES_MAX)
    killed_after("", device)


def test_killed_after_last_chunk(device: Device) -> None:
    killed_after("last_chunk", device)


def test_killed_after_verify(device: Device) -> None:
    killed_after("verify", device)
    assert device.news.count("delivery-tested") == 1


def test_killed_after_verify_it_goes_on_without_a_network(device: Device) -> None:
    device.cut_after = "verify"
    device.delivery.desired(desired().encode())
    with pytest.raises(PowerCut):
        device.fetch()
    device.boot()
    assert device.delivery.turn(device.now_s, connected=False) is None
    assert device.delivery.restart


def test_killed_after_stage(device: Device) -> None:
    killed_after("stage", device)


def test_killed_after_switch(device: Device) -> None:
    killed_after("switch", device)


def test_killed_after_first_boot(device: Device) -> None:
    killed_after("first_boot", device)
    assert device.slots.pointer.starts == 0


def test_killed_again_and_again_on_trial_rolls_back(device: Device) -> None:
    device.deliver()
    for _ in range(device.settings.starts_max):
        device.boot()
        assert device.running == NEW
    device.boot()
    assert device.running == OLD
    assert device.slots.pointer.refused == {sha256(NEW): "starts came to nothing"}
    assert device.slots.store_dir == device.folder
    device.turn()
    assert device.news[-1] == "delivery-rolled-back"
    assert device.delivery.state.startswith("rolled back to release 1: starts came to nothing")
    device.boot()
    device.turn()
    assert device.news.count("delivery-rolled-back") == 1
    device.delivery.desired(desired().encode())  # retained, so it comes again with every connection
    device.delivery.desired(desired().encode())
    assert device.turn() is None
    assert device.news[-1] == "delivery-refused"
    assert device.news.count("delivery-refused") == 1


def test_a_stop_on_request_is_no_failed_start(device: Device) -> None:
    device.deliver()
    for _ in range(10):
        device.boot()
        device.now_s += 5.0
        device.delivery.stop(device.now_s)
    assert device.slots.pointer.healthy_s == 50.0
    device.boot()
    device.turn(11.0)
    assert device.slots.pointer.confirmed  # what it ran in the starts before counts


@pytest.mark.parametrize(
    ("wanted", "problem"),
    [
        (desired(release=1), "release 1 is not newer than 1; convert with a higher --release"),
        (Desired("f" * 64, 65 << 20, "watch", "2", 2), "bundle has 68157440 bytes, bundle_bytes_max is 67108864"),
    ],
)
def test_what_is_not_even_begun(device: Device, wanted: Desired, problem: str) -> None:
    device.delivery.desired(wanted.encode())
    device.delivery.desired(wanted.encode())
    assert device.turn() is None
    assert device.delivery.state == problem
    assert device.news == ["delivery-refused"]


def test_the_bundle_that_runs_is_not_fetched(device: Device) -> None:
    device.delivery.desired(desired(OLD).encode())
    assert device.turn() is None
    assert device.news == []


def test_a_failed_self_test_refuses_the_bundle_for_good(device: Device) -> None:
    device.tested = Examined("no runtime here can run it")
    device.delivery.desired(desired().encode())
    device.fetch()
    assert not device.delivery.restart
    assert device.running == OLD
    assert device.news == ["delivery-started", "delivery-verified", "delivery-refused"]
    assert list(device.slots.idle.iterdir()) == []
    device.boot()
    device.delivery.desired(desired().encode())
    assert device.turn() is None
    assert "failed here before: no runtime here can run it" in device.delivery.state


def test_a_slow_bundle_is_refused_when_there_is_a_limit(tmp_path: Path) -> None:
    device = Device(tmp_path, DeliverySettings(latency_ms_max=1.0))
    device.delivery.desired(desired().encode())
    device.fetch()
    assert "a window takes 1.5 ms, latency_ms_max is 1" in device.delivery.state


def test_a_self_test_that_takes_the_machine_down_is_not_begun_for_ever(device: Device) -> None:
    device.tested = None
    device.delivery.desired(desired().encode())
    device.fetch()
    for _ in range(5):
        device.boot()
    assert len(device.tests) == device.settings.starts_max
    assert device.slots.pointer.refused == {sha256(NEW): "3 self-tests ended with the machine"}


def test_a_stop_on_request_during_the_self_test_is_none_of_the_bundles_fault(device: Device) -> None:
    device.tested = None
    device.delivery.desired(desired().encode())
    device.fetch()
    for _ in range(5):
        device.delivery.stop(device.now_s)
        device.boot()
    device.tests[-1].result = GOOD
    device.turn()
    assert device.delivery.restart


def test_bytes_that_are_not_the_announced_ones_are_fetched_again_and_then_refused(device: Device) -> None:
    wrong = bytes(len(NEW))
    device.delivery.desired(desired().encode())
    assert device.fetch(wrong) == 3 * ATTEMPTS_MAX
    assert f"did not match its sha256 {ATTEMPTS_MAX} times" in device.delivery.state
    assert device.running == OLD


def test_one_wrong_download_is_only_a_detour(device: Device) -> None:
    device.delivery.desired(desired().encode())
    for _ in range(3):
        request = device.turn()
        assert request is not None
        device.give(request, bytes(len(NEW)))
    assert device.fetch() == 3
    assert device.delivery.restart


def test_a_file_of_another_length_is_refused(device: Device) -> None:
    device.delivery.desired(desired().encode())
    request = device.turn()
    assert request is not None
    device.give(request, size=len(NEW) + 1)
    assert "bytes, it announced" in device.delivery.state


def test_repeated_overtaken_and_foreign_ranges_change_nothing(device: Device) -> None:
    device.delivery.desired(desired().encode())
    request = device.turn()
    assert request is not None
    device.give(request)
    device.give(request)
    device.give(RangeRequest(request.sha256, 2 * CHUNK_BYTES_MAX, 10))
    device.delivery.received(FileRange("e" * 64, CHUNK_BYTES_MAX, 10**6, 0.0, b"x").encode(), device.now_s)
    assert device.delivery.state == f"release 2: {CHUNK_BYTES_MAX} of {len(NEW)} bytes"
    device.fetch()
    assert device.delivery.restart


def test_a_damaged_range_is_refused(device: Device) -> None:
    message = bytearray(FileRange(sha256(NEW), 0, len(NEW), 0.0, NEW[:100]).encode())
    message[-1] ^= 1
    device.delivery.desired(desired().encode())
    with pytest.raises(RemoteError, match="does not match its sha256"):
        device.delivery.received(bytes(message), device.now_s)


def test_an_answer_that_stays_out_is_asked_for_again_but_not_at_once(device: Device) -> None:
    device.delivery.desired(desired().encode())
    first = device.turn()
    assert device.turn(29.0) is None
    assert device.turn(2.0) == first
    device.delivery.reconnected()
    assert device.turn() == first


def test_the_aggregators_pace_is_kept_also_when_it_has_nothing_to_give_yet(device: Device) -> None:
    device.delivery.desired(desired().encode())
    request = device.turn()
    assert request is not None
    device.give(RangeRequest(request.sha256, 0, 0), pace_s=90.0)
    assert device.turn(89.0) is None
    assert device.turn(2.0) == request
    device.give(request, pace_s=5.0)
    assert device.turn(4.0) is None
    again = device.turn(2.0)
    assert again is not None
    assert again.offset == CHUNK_BYTES_MAX


@pytest.mark.parametrize("withdrawn", [b"", WITHDRAWN])
def test_a_withdrawn_wish_leaves_nothing(device: Device, withdrawn: bytes) -> None:
    device.tested = None
    device.delivery.desired(desired().encode())
    device.fetch()
    device.delivery.desired(withdrawn)
    assert device.tests[0].stopped
    assert device.turn() is None
    assert list(device.slots.idle.iterdir()) == []


def test_another_wish_replaces_the_one_on_its_way(device: Device) -> None:
    other = NEW[::-1]
    device.delivery.desired(desired().encode())
    request = device.turn()
    assert request is not None
    device.give(request)
    device.delivery.desired(desired(other, 3).encode())
    request = device.turn()
    assert request == RangeRequest(sha256(other), 0, CHUNK_BYTES_MAX)


def test_nothing_is_taken_while_a_bundle_is_on_trial(device: Device) -> None:
    device.deliver()
    device.boot()
    device.delivery.desired(desired(NEW[::-1], 3).encode())
    assert device.turn() is None
    assert device.running == NEW


def test_a_disk_that_takes_nothing_is_asked_again_later(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    device.delivery.desired(desired().encode())
    request = device.turn()
    assert request is not None

    def full(offset: int, data: bytes) -> None:
        raise StoreError("cannot write: No space left on device")

    monkeypatch.setattr(device.slots, "append", full)
    with pytest.raises(StoreError):
        device.give(request)
    device.delivery.pause(device.now_s)
    monkeypatch.undo()
    assert device.turn(500.0) is None
    assert device.turn(200.0) == request


def test_a_disk_that_takes_nothing_at_the_switch_is_asked_again_later(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise StoreError("cannot write pointer.json: No space left on device")

    monkeypatch.setattr(device.slots, "switch", full)
    device.delivery.desired(desired().encode())
    with pytest.raises(StoreError):
        device.fetch()
    device.delivery.pause(device.now_s)
    monkeypatch.undo()
    assert device.turn(500.0) is None
    assert not device.delivery.restart
    device.turn(200.0)
    device.turn()
    assert device.delivery.restart


def test_a_wish_that_comes_during_a_trial_is_taken_up_afterwards(device: Device) -> None:
    device.deliver()
    device.boot()
    later = desired(NEW[::-1], 3)
    device.delivery.desired(later.encode())
    assert device.turn() is None
    device.turn(61.0)
    device.turn()
    assert device.delivery.state == f"release 3: 0 of {len(NEW)} bytes"


def test_self_tests_of_a_withdrawn_bundle_do_not_count_for_the_next(device: Device) -> None:
    device.tested = None
    for _ in range(5):
        device.delivery.desired(desired().encode())
        device.fetch()
        device.delivery.desired(b"")
    assert device.slots.pointer.tests == 0


def test_stores_of_spaces_nobody_needs_any_more_are_deleted_after_the_trial(device: Device) -> None:
    for name in (f"space-{'2' * 16}", f"space-{'9' * 16}"):
        (device.folder / name).mkdir()
        (device.folder / name / "agent.sqlite").touch()
    device.deliver()
    device.boot()
    device.turn(61.0)
    assert [path.name for path in device.folder.glob("space-*")] == [f"space-{'2' * 16}"]


def test_the_same_space_keeps_the_same_store(device: Device) -> None:
    device.tested = Examined("", SPACES[1], "identity", 1.0)
    device.deliver()
    device.boot()
    assert device.running == NEW
    assert device.slots.store_dir == device.folder


def test_a_pointer_and_its_copy_both_damaged_are_one_line_with_the_fix(device: Device) -> None:
    device.deliver()
    for name in ("pointer.json", "pointer.copy"):
        (device.folder / "slots" / name).write_bytes(b"{}")
    with pytest.raises(
        StoreError, match=r"slots/pointer\.json is damaged .*lacks 'active'\); delete it and pointer\.copy"
    ):
        device.boot()


def test_the_pointer_survives_its_encoding() -> None:
    pointer = Pointer("b", "a", False, 2, 12.5, 9, 4, 8, 1, "why", {"e" * 64: "bad"}, {"factory": "1" * 64})
    assert Pointer.decode(pointer.encode()) == pointer


def rolled_back() -> bytes:
    return replace(desired(), mode="roll-back").encode()


def test_a_process_that_has_run_for_long_does_not_confirm_what_it_never_ran(device: Device) -> None:
    """The loop turns once more while the process that has switched ends."""
    device.turn(3600.0)
    device.deliver()
    assert device.delivery.restart
    device.turn(1.0)
    device.delivery.stop(device.now_s)
    assert not device.slots.pointer.confirmed
    assert (device.slots.pointer.healthy_s, device.slots.pointer.floor) == (0.0, 0)
    device.boot()
    assert device.delivery.state == "release 2 on trial"
    device.turn(61.0)
    assert (device.slots.pointer.confirmed, device.slots.pointer.floor) == (True, 2)


def test_a_self_test_that_is_given_up_is_asked_nothing_more(device: Device) -> None:
    """The loop turns once more while the process ends."""
    device.tested = None
    device.delivery.desired(desired().encode())
    device.fetch()
    assert len(device.tests) == 1
    device.delivery.stop(device.now_s)
    assert device.tests[0].stopped
    device.tests[0].result = GOOD
    device.turn(1.0)
    assert not device.delivery.restart
    assert (device.slots.pointer.active, device.slots.pointer.tests) == (FACTORY, 0)
    device.tested = GOOD
    device.boot()
    device.turn(1.0)
    assert device.delivery.restart


@pytest.mark.parametrize("confirmed", [True, False])
def test_it_goes_back_when_it_is_told_to(device: Device, confirmed: bool) -> None:
    device.deliver()
    device.boot()
    if confirmed:
        device.turn(61.0)
        assert device.slots.pointer.confirmed
    device.delivery.desired(rolled_back())
    assert device.delivery.restart
    device.boot()
    assert device.running == OLD
    assert (device.slots.pointer.boot, device.slots.pointer.consumed) == (5, 7)
    device.turn()
    assert device.delivery.state == "rolled back to release 1: release 2 was rolled back on request"
    assert "delivery-rolled-back" in device.news
    # the broker retains the wish, and the order may come again
    device.delivery.desired(rolled_back())
    device.delivery.desired(desired().encode())
    assert not device.delivery.restart
    assert device.turn() is None


ID, OTHER_ID = "0123456789abcdef", "fedcba9876543210"


def test_a_command_leads_back_once_also_after_a_power_cut(device: Device) -> None:
    device.deliver()
    device.boot()
    device.turn(61.0)
    assert device.delivery.rolled_back_by(ID) is None
    assert device.delivery.roll_back(ID, None) == 2
    assert device.delivery.restart
    for _ in range(2):  # killed before the result was saved, the command comes again with the next start
        device.boot()
        assert device.running == OLD
        assert (device.slots.pointer.boot, device.slots.pointer.consumed) == (5, 7)
        assert device.delivery.roll_back(ID, 2) == 2
        assert not device.delivery.restart
    assert device.delivery.rolled_back_by(OTHER_ID) is None
    with pytest.raises(DataError, match="release 1 cannot be rolled back: the bundle before it is no longer here"):
        device.delivery.roll_back(OTHER_ID, None)
    device.delivery.desired(desired().encode())
    assert device.turn() is None, "the order stands, and what was rolled back is not tried again"
    assert "was rolled back by command" in device.delivery.state


def test_a_command_that_means_another_release_changes_nothing(device: Device) -> None:
    device.deliver()
    device.boot()
    with pytest.raises(DataError, match="release 2 runs here, not 3"):
        device.delivery.roll_back(ID, 3)
    assert not device.delivery.restart
    assert device.running == NEW


def test_a_wish_to_go_back_from_a_bundle_that_does_not_run_changes_nothing(device: Device) -> None:
    device.delivery.desired(rolled_back())
    assert not device.delivery.restart
    assert device.running == OLD


def test_where_the_bundle_before_is_gone_it_says_so_and_goes_on(device: Device) -> None:
    device.deliver()
    device.boot()
    device.turn(61.0)
    (device.folder / "factory.hwb").unlink()
    device.delivery.desired(rolled_back())
    assert not device.delivery.restart
    assert device.running == NEW
    assert device.delivery.state == "release 2 cannot be rolled back: the bundle before it is no longer here"


def test_a_bundle_that_is_only_to_be_tried_is_not_fetched(device: Device) -> None:
    device.delivery.desired(replace(desired(), mode="trial").encode())
    assert device.turn() is None
