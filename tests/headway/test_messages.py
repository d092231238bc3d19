"""Every message against its golden bytes, and every malformed one refused. The goldens' text is docs/protocol.md.

A golden changes only with the schema number. ``python -m tests.headway.test_messages`` writes the missing ones.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
import pytest

from headway.arrays import Float32
from headway.errors import RemoteError
from headway.fields import JsonValue, canonical_json
from headway.maths.head import Head, HeadInput, HeadKind
from headway.maths.metrics import BINS, ClassificationSums
from headway.maths.paired_loss import PairedLoss
from headway.maths.statistics import Statistics
from headway.maths.target_metrics import LabelSums, ValueSums
from headway.tensors import decode_tensors, encode_tensors
from headway.wire.answers import GivenLabel, GivenLabels, WindowAnswer
from headway.wire.bundle_transfer import Desired, FileRange, RangeRequest
from headway.wire.commands import (
    COMMANDS_MAX,
    DETAIL_BYTES_MAX,
    Command,
    CommandResult,
    CommandResults,
    Commands,
    results_that_fit,
)
from headway.wire.configuration import Configuration, ConfigurationState
from headway.wire.fleet_prior import FleetPrior, PriorRequest
from headway.wire.health import Health
from headway.wire.labels_wanted import IMAGE, SERIES, LabelsWanted, NearestLabel, Sketch, WantedLabel
from headway.wire.messages import (
    MESSAGE_BYTES_MAX,
    Ack,
    Event,
    History,
    Metrics,
    PublishedHead,
    Reported,
    ReportPart,
    StatisticsChange,
    StatisticsReport,
    Status,
    Update,
)
from headway.wire.precision import Precision
from headway.wire.trial import TrialReport

GOLDEN = Path(__file__).parents[1] / "golden" / "messages"
CLASSES = ("idle", "walk")
SPACE = "0123456789abcdef" * 4
SHA256 = "fedcba9876543210" * 4


class Message(Protocol):
    def encode(self) -> bytes: ...


def sums(*counts: int) -> ClassificationSums:
    bins = np.zeros((BINS, 3))
    bins[9] = [12.0, 9.0, 7.5]
    return ClassificationSums(np.array(counts, np.int64).reshape(2, 2), 1.5, 0.75, bins)


def label_sums(exact: int) -> LabelSums:
    return LabelSums(np.array([[5, 1, 0, 6], [2, 2, 3, 5]], np.int64), 12, exact, 1.5, 0.75)


def value_sums(error: float) -> ValueSums:
    twelve = np.full(2, 12.0)
    return ValueSums(twelve, twelve * error, twelve * error**2, np.array([-2.5, 400.0]), np.array([3.0, 5000.0]), 12)


def small_tables() -> Statistics:
    """Three samples of two codes: [127, -3] idle, [5, 0] walk, [-127, 1] walk."""
    codes = np.array([[127, -3], [5, 0], [-127, 1]], np.int8)
    return Statistics.of(codes, np.array([0, 1, 1]), CLASSES, SPACE)


def small_head() -> Head:
    kernel: Float32 = np.array([[0.5, -0.5], [0.25, 1.0]], np.float32)
    return Head(kernel, np.array([0.0, -2.0], np.float32), HeadKind.SOFTMAX, CLASSES, HeadInput.CODES)


def few_tables() -> Statistics:
    """The first nine of those samples: nine rows say everything."""
    return wide_tables(9)


def wide_tables(count: int = 200) -> Statistics:
    """Two hundred samples of 128 codes, alike in threes, from x -> 5 x + 3 (mod 2^16): packed as one tensor."""
    state, rows = 1, []
    for _ in range(200 * 43):
        state = (5 * state + 3) % (1 << 16)
        rows += [state // 256 - 128, (state // 256 - 128) // 2, state % 3]
    codes = np.clip(np.array(rows[: 200 * 128]).reshape(200, 128), -127, 127).astype(np.int8)
    return Statistics.of(codes[:count], np.arange(count) % 2, CLASSES, SPACE)


HISTORY = History(70368744177664, (11, 281474976710655), (5, 9))
DELTA: Float32 = np.array([[0.5, 0.0, -1.0], [-0.5, 0.0, 1.0]], np.float32)
DELTA8: Float32 = np.array([[0.5, 0.0, -127.0], [-32.0, 0.25, 63.5]], np.float32)
MESSAGES: dict[str, Message] = {
    "status-online.json": Status(online=True, boot=7),
    "status-will.json": Status(online=False, boot=7),
    "reported.json": Reported(
        "watch",
        "1.2.0",
        SPACE,
        "exact",
        "litert float32",
        "0.1.0",
        "aarch64 python 3.11.2",
        12,
        "lda/source",
        "",
        3,
        "release 4: 98304 of 250000 bytes",
    ),
    "metrics.json": Metrics(281474976710655, 12, sums(5, 1, 0, 6), sums(3, 3, 2, 4)),
    "metrics-multi-label.json": Metrics(281474976710655, 12, label_sums(8), label_sums(4)),
    "metrics-regression.json": Metrics(281474976710655, 12, value_sums(0.5), value_sums(1.5)),
    "statistics.safetensors": StatisticsReport("wrist-1", 281474976710655, 12, small_tables(), HISTORY),
    "statistics-packed.safetensors": StatisticsReport("wrist-1", 7, 3, wide_tables(), HISTORY),
    "statistics-factored.safetensors": StatisticsReport("wrist-1", 7, 3, wide_tables(), HISTORY),
    "statistics-stepped.safetensors": StatisticsReport("wrist-1", 7, 3, wide_tables(), HISTORY),
    "statistics-fields.safetensors": StatisticsReport("wrist-1", 7, 3, wide_tables(), HISTORY),
    "statistics-rows.safetensors": StatisticsReport("wrist-1", 7, 3, few_tables(), HISTORY),
    "statistics-row-fields.safetensors": StatisticsReport("wrist-1", 7, 3, wide_tables(30), HISTORY),
    "statistics-part.safetensors": ReportPart("wrist-1", 7, 13, 1, 122_885, "ab" * 32, b"parts"),
    "statistics-change.safetensors": StatisticsChange("wrist-1", 7, 15, 12, SHA256, small_tables(), HISTORY),
    "update.safetensors": Update("wrist-1", 281474976710655, 3, 41, 16, SPACE, CLASSES, DELTA, 11, acked=2),
    "commands.json": Commands(
        (
            Command("00f1e2d3c4b5a697", "label", {"window": "w-17", "class": "walk"}, 1.75e9),
            Command("0123456789abcdef", "sync-now", {}, 1.75e9),
        )
    ),
    "command-results-none.json": CommandResults(("label", "sync-now")),
    "command-results.json": CommandResults(
        ("label", "sync-now"),
        (
            CommandResult("00f1e2d3c4b5a697", "failed", {"problem": "'walk' is no class of this device"}, 1.7e9),
            CommandResult("0123456789abcdef", "done", {"counter": 12, "acknowledged": 11}, 1.7e9),
        ),
    ),
    "trial-none.json": TrialReport("", 0, "none"),
    "trial.json": TrialReport(
        SHA256, 7, "running", PairedLoss(40, -65536, 655360000), PairedLoss(38, 3000, 90000000), 1.5, 2.25
    ),
    "event.json": Event("head-changed", {"before": "frozen", "after": "lda/source"}, 1800000000.5),
    "update-int8.safetensors": Update("wrist-1", 7, 4, 41, 16, SPACE, CLASSES, DELTA8, 11, Precision.INT8),
    "ack.json": Ack(281474976710655, 12, 3, 2.5, 70368744177664, 13, 2),
    "ack-removed.json": Ack(281474976710655, 0, 0, removed=True),
    "ack-refused.json": Ack(281474976710655, 12, 3, refused="limit", problem="too many updates wait for a head"),
    "head.safetensors": PublishedHead(42, "exact", SPACE, 10, 480, small_head()),
    "desired.json": Desired(SHA256, 250_000, "watch", "2.0.0", 4),
    "desired-trial.json": Desired(SHA256, 250_000, "watch", "2.0.0", 4, "trial"),
    "request.json": RangeRequest(SHA256, 98_304, 98_304),
    "prior-request.json": PriorRequest(SPACE, 480),
    "health.json": Health("on", 2_500_000_000, 310_000_000, 41.5, {"room": "cellar-2", "site": "Göteborg"}),
    "health-silent.json": Health("paused"),
    "configuration.json": Configuration(
        3, {"learner.new_classes": True, "policy.trigger": "drift", "sync.interval_s": 5}
    ),
    "configuration-none.json": Configuration(4),
    "configuration-state.json": ConfigurationState(
        3,
        "applied",
        {"policy.trigger": "drift", "sync.interval_s": 60.5},
        ("policy.trigger",),
        {"sync.interval_s": "no"},
    ),
    "configuration-state-waiting.json": ConfigurationState(0, "waiting", {}, problem="a bundle is on trial"),
    "prior.safetensors": FleetPrior(9, wide_tables()),
    "file.safetensors": FileRange(SHA256, 98_304, 250_000, 1.5, b"part of a bundle"),
    "file-later.safetensors": FileRange(SHA256, 98_304, 250_000, 90.0, b""),
    "answers.json": WindowAnswer(
        "w-17",
        "07-31",
        41,
        4,
        1750000000.0,
        "classification",
        "walk",
        (),
        {"walk": 0.875, "idle": 0.125},
        "exact",
        12,
        "watch",
        "1.2.0",
        3,
    ),
    "answers-smoothed.json": WindowAnswer(
        "",
        "07-31",
        41,
        5,
        1750000000.0,
        "classification",
        "idle",
        (),
        {"idle": 0.5, "walk": 0.5},
        "frozen",
        3,
        "watch",
        "1.2.0",
        3,
        "walk",
    ),
    "answers-multi-label.json": WindowAnswer(
        "7",
        "pump",
        1,
        0,
        0.0,
        "multi-label",
        "",
        ("leak", "noise"),
        {"leak": 0.75, "noise": 0.5, "wear": 0.25},
        "fleet",
        6,
        "pump",
        "2.0.0",
        4,
    ),
    "labels-wanted.json": LabelsWanted(
        CLASSES,
        (
            WantedLabel("w-17", 1750000000.5, "exact", {"walk": 0.5, "idle": 0.4375}),
            WantedLabel(
                "w-18",
                0.0,
                "frozen",
                {"idle": 0.75},
                NearestLabel("w-3", "walk", 12.5),
                Sketch(SERIES, -1.5, 2.0, (bytes([1, 128, 255, 0]), bytes([64, 64, 64, 64]))),
            ),
        ),
    ),
    "labels-wanted-image.json": LabelsWanted(
        CLASSES, (WantedLabel("7", 1.0, "fleet", {"walk": 1.0}, None, Sketch(IMAGE, 0.0, 1.0, (b"\x01\xff",) * 2)),)
    ),
    "labels-wanted-none.json": LabelsWanted(CLASSES),
    "labels.json": GivenLabels((GivenLabel("w-17", "walk"), GivenLabel("w-18"))),
    "labels-values.json": GivenLabels((GivenLabel("7", values=(1.0, None, 0.5)),)),
}
DECODE: dict[str, Callable[[bytes], Message]] = {
    "status-online.json": Status.decode,
    "status-will.json": Status.decode,
    "reported.json": Reported.decode,
    "metrics.json": lambda payload: Metrics.decode(payload, len(CLASSES)),
    "metrics-multi-label.json": lambda payload: Metrics.decode(payload, len(CLASSES)),
    "metrics-regression.json": lambda payload: Metrics.decode(payload, len(CLASSES)),
    "statistics.safetensors": StatisticsReport.decode,
    "statistics-packed.safetensors": StatisticsReport.decode,
    "statistics-factored.safetensors": StatisticsReport.decode,
    "statistics-stepped.safetensors": StatisticsReport.decode,
    "statistics-fields.safetensors": StatisticsReport.decode,
    "statistics-rows.safetensors": StatisticsReport.decode,
    "statistics-row-fields.safetensors": StatisticsReport.decode,
    "statistics-part.safetensors": ReportPart.decode,
    "statistics-change.safetensors": StatisticsChange.decode,
    "update.safetensors": Update.decode,
    "update-int8.safetensors": Update.decode,
    "commands.json": Commands.decode,
    "command-results-none.json": CommandResults.decode,
    "command-results.json": CommandResults.decode,
    "trial-none.json": TrialReport.decode,
    "trial.json": TrialReport.decode,
    "event.json": Event.decode,
    "ack.json": Ack.decode,
    "ack-removed.json": Ack.decode,
    "ack-refused.json": Ack.decode,
    "head.safetensors": PublishedHead.decode,
    "desired.json": Desired.decode,
    "desired-trial.json": Desired.decode,
    "request.json": RangeRequest.decode,
    "prior-request.json": PriorRequest.decode,
    "answers.json": WindowAnswer.decode,
    "answers-smoothed.json": WindowAnswer.decode,
    "answers-multi-label.json": WindowAnswer.decode,
    "labels-wanted.json": LabelsWanted.decode,
    "labels-wanted-image.json": LabelsWanted.decode,
    "labels-wanted-none.json": LabelsWanted.decode,
    "labels.json": GivenLabels.decode,
    "labels-values.json": GivenLabels.decode,
    "health.json": Health.decode,
    "health-silent.json": Health.decode,
    "configuration.json": Configuration.decode,
    "configuration-none.json": Configuration.decode,
    "configuration-state.json": ConfigurationState.decode,
    "configuration-state-waiting.json": ConfigurationState.decode,
    "prior.safetensors": FleetPrior.decode,
    "file.safetensors": FileRange.decode,
    "file-later.safetensors": FileRange.decode,
}
# two builds of zlib may pack the same numbers into different bytes
KINDS = ("", "-change", "-packed", "-factored", "-stepped", "-fields", "-rows", "-row-fields")
ZLIB = {f"statistics{kind}.safetensors" for kind in KINDS}
JSON = sorted(name for name in MESSAGES if name.endswith(".json"))


@pytest.mark.parametrize("name", sorted(MESSAGES))
def test_golden_bytes_are_read(name: str) -> None:
    decoded = DECODE[name]((GOLDEN / name).read_bytes())
    assert type(decoded) is type(MESSAGES[name])
    assert decoded.encode() == MESSAGES[name].encode()


@pytest.mark.parametrize("name", sorted(set(MESSAGES) - ZLIB))
def test_golden_bytes_are_written(name: str) -> None:
    assert MESSAGES[name].encode() == (GOLDEN / name).read_bytes()


def test_what_release_0_2_reads_is_still_written() -> None:
    report = MESSAGES["statistics-packed.safetensors"]
    assert isinstance(report, StatisticsReport)
    assert report.encode(predict=True) == (GOLDEN / "statistics-packed.safetensors").read_bytes()


def test_statistics_survive_the_wire() -> None:
    report = StatisticsReport.decode((GOLDEN / "statistics.safetensors").read_bytes())
    assert report.statistics == small_tables()
    assert (report.device, report.epoch, report.counter) == ("wrist-1", 281474976710655, 12)
    assert report.history == HISTORY
    packed = (GOLDEN / "statistics-packed.safetensors").read_bytes()
    assert StatisticsReport.decode(packed).statistics == wide_tables()
    assert StatisticsReport.read_history(packed).run_id == 70368744177664
    change = StatisticsChange.decode((GOLDEN / "statistics-change.safetensors").read_bytes())
    assert (change.counter, change.base, change.change) == (15, 12, small_tables())


@pytest.mark.parametrize("name", sorted(MESSAGES))
def test_a_cut_message_is_refused(name: str) -> None:
    payload = (GOLDEN / name).read_bytes()
    for length in range(len(payload)):
        with pytest.raises(RemoteError):
            DECODE[name](payload[:length])


@pytest.mark.parametrize("name", sorted(MESSAGES))
def test_a_message_that_is_too_long_is_refused(name: str) -> None:
    with pytest.raises(RemoteError, match="at most"):
        DECODE[name](MESSAGES[name].encode() + b" " * MESSAGE_BYTES_MAX)


@pytest.mark.parametrize("name", JSON)
def test_json_with_a_key_too_many_or_too_few_is_refused(name: str) -> None:
    table = json.loads(MESSAGES[name].encode())
    with pytest.raises(RemoteError, match="unknown key"):
        DECODE[name](json.dumps({**table, "extra": 1}).encode())
    measured = {"attributes", "disk_free_bytes", "memory_free_bytes", "temperature_c"}
    optional = {"detail", "removed", "mode"} | measured | ({"refused", "problem"} if name.startswith("ack") else set())
    for key in set(table) - optional:
        with pytest.raises(RemoteError):
            DECODE[name](json.dumps({k: v for k, v in table.items() if k != key}).encode())


@pytest.mark.parametrize("name", sorted(MESSAGES))
def test_what_a_later_release_says_without_need_is_passed_over_and_what_it_needs_is_refused(name: str) -> None:
    payload = (GOLDEN / name).read_bytes()
    later = {"optional": {"of-release-9": [1, {"deep": None}]}}
    assert DECODE[name](with_keys(payload, later)).encode() == MESSAGES[name].encode()
    with pytest.raises(RemoteError, match="unknown key 'of-release-9'"):
        DECODE[name](with_keys(payload, {"of-release-9": 1}))
    with pytest.raises(RemoteError, match="optional of .* must be a table, got 3"):
        DECODE[name](with_keys(payload, {"optional": 3}))


def with_keys(payload: bytes, keys: dict[str, JsonValue]) -> bytes:
    """A message of either encoding, with more keys in its table or its metadata."""
    if payload.startswith(b"{"):
        return canonical_json({**json.loads(payload), **keys})
    arrays, metadata = decode_tensors(payload, "message", RemoteError, MESSAGE_BYTES_MAX)
    return encode_tensors(arrays, {**metadata, **keys})


@pytest.mark.parametrize("pace_s", [0.0, 2.5, 1e-7, 86_400.0])
def test_an_ack_that_says_only_what_is_stored_is_written_as_all_are(pace_s: float) -> None:
    said = Ack(2**63, 2**53, 3, pace_s, 4, 5, 6).encode()
    refused = json.loads(Ack(2**63, 2**53, 3, pace_s, 4, 5, 6, refused="limit").encode())
    assert said == canonical_json({name: value for name, value in refused.items() if name != "refused"})


@pytest.mark.parametrize("name", JSON)
@pytest.mark.parametrize("value", [None, True, -1, 2**60, "x", [], {}, 1.5])
def test_a_value_of_another_type_is_refused_or_read_back_the_same(name: str, value: object) -> None:
    table = json.loads(MESSAGES[name].encode())
    for key in table:
        payload = json.dumps({**table, key: value}).encode()
        try:
            decoded = DECODE[name](payload)
        except RemoteError:
            continue
        assert json.loads(decoded.encode()) == json.loads(payload)


@pytest.mark.parametrize("name", sorted(MESSAGES))
def test_a_future_schema_is_refused(name: str) -> None:
    payload = (GOLDEN / name).read_bytes()
    newer = payload.replace(b'"schema":1', b'"schema":2').replace(b'\\"schema\\":1', b'\\"schema\\":2')
    assert newer != payload
    with pytest.raises(RemoteError, match="schema 2"):
        DECODE[name](newer)


def test_a_head_with_numbers_that_are_not_finite_is_refused() -> None:
    good = MESSAGES["head.safetensors"].encode()
    for bad in (np.float32(np.nan), np.float32(np.inf)):
        for number in (np.float32(-2.0), np.float32(0.25)):
            with pytest.raises(RemoteError, match="finite"):
                PublishedHead.decode(good.replace(number.tobytes(), bad.tobytes()))


@pytest.mark.parametrize("name", ["metrics.json", "metrics-multi-label.json", "metrics-regression.json"])
@pytest.mark.parametrize("value", [None, True, -1, "x", [], {}, [1, 2, 3], [[1]], 1e400, [[None]]])
def test_sums_of_another_shape_are_refused_or_read_back_the_same(name: str, value: object) -> None:
    table = json.loads(MESSAGES[name].encode())
    for key in table["served"]:
        payload = json.dumps({**table, "served": {**table["served"], key: value}}).encode()
        with pytest.raises(RemoteError):
            DECODE[name](payload)


def test_sums_of_two_tasks_in_one_message_are_refused() -> None:
    mixed = Metrics(1, 1, label_sums(8), value_sums(0.5)).encode()
    with pytest.raises(RemoteError, match="two different tasks"):
        Metrics.decode(mixed, len(CLASSES))


@pytest.mark.parametrize(
    "command",
    [
        Command("00F1E2D3C4B5A697", "label", {}, 1.0),
        Command("00f1e2d3c4b5a69", "label", {}, 1.0),
        Command("00f1e2d3c4b5a697", "Label", {}, 1.0),
        Command("00f1e2d3c4b5a697", "", {}, 1.0),
        Command("00f1e2d3c4b5a697", "label", {"window": "w" * 3000}, 1.0),
        Command("00f1e2d3c4b5a697", "label", {}, -1.0),
    ],
)
def test_a_command_of_another_form_is_refused(command: Command) -> None:
    with pytest.raises(RemoteError):
        Commands.decode(Commands((command,)).encode())


def test_a_command_or_a_result_that_comes_twice_is_refused() -> None:
    command, result = Command("00f1e2d3c4b5a697", "label", {}, 1.0), CommandResult("00f1e2d3c4b5a697", "done")
    with pytest.raises(RemoteError, match="twice"):
        Commands.decode(Commands((command, command)).encode())
    with pytest.raises(RemoteError, match="twice"):
        CommandResults.decode(CommandResults((), (result, result)).encode())
    many = tuple(Command(f"{number:016x}", "label", {}, 1.0) for number in range(COMMANDS_MAX + 1))
    with pytest.raises(RemoteError, match="at most 16"):
        Commands.decode(Commands(many).encode())


def test_a_message_takes_as_many_results_as_fit() -> None:
    detail = {"log": ["x" * (DETAIL_BYTES_MAX - 20)]}
    results = tuple(CommandResult(f"{number:016x}", "done", detail, 1.0) for number in range(8))
    taken = results_that_fit(results)
    assert 0 < len(taken) < 8
    assert CommandResults.decode(CommandResults(("label",), taken).encode()).results == taken


def write_missing() -> None:
    """Write the goldens that are not there yet; never change one."""
    GOLDEN.mkdir(parents=True, exist_ok=True)
    for name, message in MESSAGES.items():
        if not (GOLDEN / name).exists():
            (GOLDEN / name).write_bytes(message.encode())


if __name__ == "__main__":
    write_missing()
