"""What this release sealed, signed and wrote beside its store is opened by every later one, and written the same.

The key is a published test vector (RFC 8032, 7.1, test 1), and Ed25519 signs one text in one way: so the files under
tests/golden/signed are not only read but made again to the byte. To add one: put it into `files`, run this module as a
program (``python -m tests.contract.test_signed_goldens``), which writes what is missing and changes nothing.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from aggregator.privacy_ledger import spent_beside
from aggregator.removals import ForgottenEpoch, RemovalRecord, record_problems, records_in
from aggregator.removals.records import CONTEXT, digest
from aggregator.store.rows import PrivacySpentRow, RemovalRow
from edge_agent.delivery.pointer import POINTER, Pointer, read_pointer, write_pointer
from edge_agent.seen_orders import read_seen, write_seen
from headway.bundle import signed_by
from headway.fields import canonical_json
from headway.joining import JoinAnswer
from headway.private_keys import Signer, public_key_line
from headway.wire import (
    ALL,
    KEY_ID_BYTES,
    ORDERS,
    Commands,
    Configuration,
    Desired,
    FleetPrior,
    Kind,
    PublishedHead,
    Seal,
    sealed_text,
    topic,
    with_order_seal,
    with_seal,
    without_order_seal,
    without_seal,
)
from tests.headway.bundles import PRIVATE_KEY, PUBLIC_KEY

GOLDEN = Path(__file__).parents[1] / "golden"
SIGNED, MESSAGES = GOLDEN / "signed", GOLDEN / "messages"
SERIES, VERSION = 1_795_000_000, 42
TOPICS = {"head": topic("plant", ALL, Kind.HEAD), "prior": topic("plant", "wrist-1", Kind.PRIOR)}
ORDER_TOPICS = {kind: topic("plant", "wrist-1", kind) for kind in ORDERS}
SEEN = {kind: (SERIES, VERSION + number) for number, kind in enumerate(ORDERS)}
SLOTS = Pointer(
    "b", "a", confirmed=False, starts=1, healthy_s=12.5, floor=4, boot=7, consumed=31, rolled_back="starts failed",
    refused={"a" * 64: "its self-test failed"}, spaces={"a": "5" * 64, "b": "6" * 64},
)  # fmt: skip
ANSWER = JoinAnswer(
    "wrist-1", "plant", "certificate", "authority", "broker.example", 8883, "5b0a9a0c", 1.8e9,
    (public_key_line(PUBLIC_KEY).strip(), public_key_line(bytes(range(32))).strip()),
)  # fmt: skip
SPENT = PrivacySpentRow("5" * 64, 3, 17, 1.8e9, 1, "label", 5.25)
EPOCH = ForgottenEpoch(281474976710655, "5" * 64, 12, 80, 4, 45, 1.79e9)
RECORDS = (
    RemovalRecord(1, "plant", "wrist-1", "ada", 1.8e9, 1.79e9, (EPOCH,), {"5" * 64: "a" * 64}, {"5" * 64: "b" * 64},
                  ("wrist-2",), ("wrist-3",), False),
    RemovalRecord(2, "plant", "wrist-2", "ada", 1.8e9, 0.0, (EPOCH,), {}, {}, (), (), True),
)  # fmt: skip


@pytest.fixture(scope="module")
def signer() -> Signer:
    return own_signer()


def own_signer() -> Signer:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Signer(Ed25519PrivateKey.from_private_bytes(PRIVATE_KEY).sign, PUBLIC_KEY)


def files(signer: Signer) -> dict[str, bytes]:
    """By their name under tests/golden/signed."""
    spent = f"privacy/{SPENT.space[:16]}-{SPENT.number:06d}-{int(SPENT.at_s)}.json"
    made = {"join-answer-keys.json": ANSWER.encode(), spent: canonical_json(asdict(SPENT))}
    for kind, name in TOPICS.items():
        payload = (MESSAGES / f"{kind}.safetensors").read_bytes()
        made[f"{kind}-sealed.safetensors"] = with_seal(payload, seal_of(signer, name, payload))
    for order, name in ORDER_TOPICS.items():
        payload = (MESSAGES / f"{order}.json").read_bytes()
        made[f"{order}-sealed.json"] = with_order_seal(payload, seal_of(signer, name, payload))
    with tempfile.TemporaryDirectory() as folder:
        device = Path(folder, "device")
        (device / "slots").mkdir(parents=True)
        write_seen(device, SEEN)
        write_pointer(device / "slots", SLOTS)
        made |= {str(path.relative_to(folder)): path.read_bytes() for path in device.rglob("*") if path.is_file()}
    for row in removal_rows(signer):
        made[f"removals/{row.number:06d}.json"] = canonical_json({"record": row.record, "signature": row.signature})
    return made


def seal_of(signer: Signer, name: str, payload: bytes) -> Seal:
    return Seal(SERIES, VERSION, PUBLIC_KEY[:KEY_ID_BYTES], signer.sign(sealed_text(name, payload, SERIES, VERSION)))


def removal_rows(signer: Signer) -> list[RemovalRow]:
    rows: list[RemovalRow] = []
    for record in RECORDS:
        text = replace(record, before_sha256=digest(rows[-1].record) if rows else "").encode()
        rows.append(RemovalRow(record.number, text, signer.sign(CONTEXT + text.encode()).hex()))
    return rows


def test_they_are_written_the_same_to_the_byte(signer: Signer) -> None:
    made = files(signer)
    assert {str(path.relative_to(SIGNED)) for path in SIGNED.rglob("*") if path.is_file()} == set(made)
    for name, content in made.items():
        assert (SIGNED / name).read_bytes() == content, name


@pytest.mark.parametrize("kind", TOPICS)
def test_a_sealed_message_is_opened_and_its_seal_holds(kind: str) -> None:
    payload, seal = without_seal((SIGNED / f"{kind}-sealed.safetensors").read_bytes())
    assert payload == (MESSAGES / f"{kind}.safetensors").read_bytes()
    assert seal is not None
    assert (seal.order, seal.key_id) == ((SERIES, VERSION), PUBLIC_KEY[:KEY_ID_BYTES])
    text = sealed_text(TOPICS[kind], payload, *seal.order)
    assert signed_by(PUBLIC_KEY, text, seal.signature)
    assert not signed_by(PUBLIC_KEY, sealed_text(TOPICS[kind] + "x", payload, *seal.order), seal.signature)


@pytest.mark.parametrize("kind", ORDERS)
def test_a_sealed_order_is_opened_and_its_seal_holds(kind: Kind) -> None:
    payload, seal = without_order_seal((SIGNED / f"{kind}-sealed.json").read_bytes())
    assert payload == (MESSAGES / f"{kind}.json").read_bytes()
    assert seal is not None
    assert (seal.order, seal.key_id) == ((SERIES, VERSION), PUBLIC_KEY[:KEY_ID_BYTES])
    assert signed_by(PUBLIC_KEY, sealed_text(ORDER_TOPICS[kind], payload, *seal.order), seal.signature)


@pytest.mark.parametrize(
    ("kind", "message"), [(Kind.DESIRED, Desired), (Kind.CONFIGURATION, Configuration), (Kind.COMMANDS, Commands)]
)
def test_a_reader_without_keys_reads_sealed_orders_as_those_without(
    kind: Kind, message: type[Desired | Configuration | Commands]
) -> None:
    sealed, plain = (SIGNED / f"{kind}-sealed.json").read_bytes(), (MESSAGES / f"{kind}.json").read_bytes()
    assert message.decode(sealed) == message.decode(plain)


def test_what_a_device_keeps_beside_its_stores_is_read(tmp_path: Path) -> None:
    assert read_seen(SIGNED / "device") == SEEN
    assert read_pointer(SIGNED / "device" / "slots") == (SLOTS, "")
    shutil.copytree(SIGNED / "device", tmp_path / "device")
    (tmp_path / "device" / "slots" / POINTER).unlink()
    assert read_pointer(tmp_path / "device" / "slots")[0] == SLOTS


def test_a_reader_without_keys_reads_sealed_messages_as_they_are() -> None:
    assert PublishedHead.decode((SIGNED / "head-sealed.safetensors").read_bytes()).version == VERSION
    assert FleetPrior.decode((SIGNED / "prior-sealed.safetensors").read_bytes()).devices == 9


def test_the_answer_to_a_join_brings_the_keys() -> None:
    assert JoinAnswer.decode((SIGNED / "join-answer-keys.json").read_bytes()) == ANSWER


def test_records_of_removals_are_read_in_order_and_their_signatures_hold() -> None:
    rows = records_in(SIGNED / "removals")
    assert record_problems(rows, [PUBLIC_KEY]) == []
    first, second = (RemovalRecord.decode(row.record, "golden") for row in rows)
    assert (first.who, first.epochs, first.renewed) == ("ada", (EPOCH,), ("wrist-2",))
    assert (second.device, second.averaged) == ("wrist-2", True)


def test_what_was_spent_of_the_privacy_budget_is_read() -> None:
    assert spent_beside(SIGNED / "privacy") == [SPENT]


if __name__ == "__main__":
    for name, content in files(own_signer()).items():
        if not (SIGNED / name).exists():
            (SIGNED / name).parent.mkdir(parents=True, exist_ok=True)
            (SIGNED / name).write_bytes(content)
