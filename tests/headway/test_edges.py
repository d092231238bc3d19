"""Strict reading at every edge: fields, JSON, tensors, samples, topics, durable files, preprocessing."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from headway.durable import write_durably
from headway.errors import ConfigError, DataError, RemoteError, StoreError
from headway.fields import Fields, canonical_json, parse_json
from headway.maths.preprocessing import Preprocessing
from headway.names import checked_name
from headway.samples import read_samples
from headway.tensors import decode_tensors, encode_tensors
from headway.wire.topics import Kind, parse_topic, topic
from tests.arrays import assert_same


def fields(**table: object) -> Fields:
    return Fields(table, "[mqtt] in agent.toml", ConfigError)


def test_an_unknown_key_names_the_nearest_known_one() -> None:
    reading = fields(hots="broker")
    reading.text("host", "localhost")
    reading.integer("port", 1883)
    with pytest.raises(ConfigError, match=r"unknown key 'hots' in \[mqtt\] in agent.toml; did you mean 'host'\?"):
        reading.finish()


@pytest.mark.parametrize(
    ("value", "message"),
    [("1883", "a whole number from 1 to 65535, got '1883'"), (True, "got True"), (0, "got 0"), (70000, "got 70000")],
)
def test_integers_are_checked(value: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        fields(port=value).integer("port", low=1, high=65_535)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "1.0", -1.0])
def test_numbers_are_finite_and_in_range(value: object) -> None:
    with pytest.raises(ConfigError, match="interval_s"):
        fields(interval_s=value).number("interval_s", low=0.0)


def test_a_missing_key_is_named() -> None:
    with pytest.raises(ConfigError, match="lacks 'host'"):
        fields().text("host")


@pytest.mark.parametrize(
    "payload", [b"{", b'{"a":1,"a":2}', b'{"a":NaN}', b"\xff\xfe", b"[" * 100_000, b'{"a":Infinity}']
)
def test_json_with_holes_is_refused(payload: bytes) -> None:
    with pytest.raises(RemoteError, match="not valid JSON"):
        parse_json(payload, "ack", RemoteError)


def test_json_is_bounded() -> None:
    with pytest.raises(RemoteError, match="at most 10"):
        parse_json(b'"' + b"a" * 20 + b'"', "ack", RemoteError, bytes_max=10)


def test_canonical_json_has_one_form() -> None:
    assert canonical_json({"b": 1, "a": [1.5, "ü"]}) == '{"a":[1.5,"ü"],"b":1}'.encode()


def test_tensors_survive_with_their_metadata() -> None:
    arrays = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array([1], np.int8)}
    payload = encode_tensors(arrays, {"k": [1, 2]})
    found, metadata = decode_tensors(payload, "head", RemoteError, 10_000)
    assert metadata == {"k": [1, 2]}
    assert_same(found["a"], arrays["a"])
    assert encode_tensors(arrays, {"k": [1, 2]}) == payload


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xff" * 8,
        (1 << 30).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"[]",
        (2).to_bytes(8, "little") + b"{}trailing",
        encode_tensors({"a": np.ones(4, np.float32)})[:-3],
    ],
)
def test_damaged_tensors_are_refused(payload: bytes) -> None:
    with pytest.raises(RemoteError, match="head"):
        decode_tensors(payload, "head", RemoteError, 10_000)


ONE = encode_tensors({"a": np.arange(4, dtype=np.float32), "b": np.arange(3, dtype=np.int8)}, {"k": 1})


@pytest.mark.parametrize(
    ("said", "instead"),
    [
        (b'"data_offsets":[16,19]', b'"data_offsets":[15,18]'),
        (b'"data_offsets":[16,19]', b'"data_offsets":[17,20]'),
        (b'"data_offsets":[0,16]', b'"data_offsets":[0,17]'),
        (b'"data_offsets":[0,16]', b'"data_offsets":[0.0,16]'),
        (b'"shape":[4]', b'"shape":[3]'),
        (b'"shape":[4]', b'"shape":[-4]'),
        (b'"shape":[4]', b'"shape":[true,4]'),
        (b'"shape":[4]', b'"shape":[9007199254740993,4]'),
        (b'"F32"', b'"F33"'),
        (b'"F32"', b'["F32"]'),
        (b'"shape":[4]', b'"shade":[4]'),
    ],
)
def test_tensors_that_do_not_fill_their_file_exactly_are_refused_as_the_library_does(
    said: bytes, instead: bytes
) -> None:
    length = int.from_bytes(ONE[:8], "little")
    header = ONE[8 : 8 + length]
    assert said in header
    changed = header.replace(said, instead)
    payload = len(changed).to_bytes(8, "little") + changed + ONE[8 + length :]
    with pytest.raises(RemoteError, match="not a safetensors file"):
        decode_tensors(payload, "head", RemoteError, 10_000)
    with pytest.raises((safetensors.SafetensorError, ValueError, TypeError, KeyError)):
        safetensors.numpy.load(payload)
    with pytest.raises(RemoteError, match="left over"):
        decode_tensors(ONE + b"0", "head", RemoteError, 10_000)


def npz(path: Path, **arrays: object) -> Path:
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path


def test_labels_are_indices_or_names(tmp_path: Path) -> None:
    x = np.zeros((3, 2), np.float32)
    by_index = read_samples(npz(tmp_path / "i.npz", x=x, y=np.array([1, -1, 0])), ("a", "b"))
    by_name = read_samples(npz(tmp_path / "n.npz", x=x, y=np.array(["b", "", "a"])), ("a", "b"))
    assert by_index.y is not None
    assert by_name.y is not None
    assert by_index.y.tolist() == by_name.y.tolist() == [1, -1, 0]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"z": np.zeros(3)}, "needs an array 'x'"),
        ({"x": np.zeros(3)}, "x is float64"),
        ({"x": np.array([["a"]])}, "must be numbers"),
        ({"x": np.zeros((3, 2)), "y": np.zeros(2, int)}, "one label for each of the 3"),
        ({"x": np.zeros((3, 2)), "y": np.array([0, 5, 1])}, "label 5 of sample 1 is outside -1..1"),
        ({"x": np.zeros((3, 2)), "y": np.array([0, -2, 1])}, "label -2 of sample 1"),
        ({"x": np.zeros((3, 2)), "y": np.array([0.5, 1, 1])}, "class indices"),
        ({"x": np.zeros((3, 2)), "y": np.array(["a", "bb", "b"])}, "label 'bb' of sample 1 is no class"),
    ],
)
def test_unusable_samples_are_refused(tmp_path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_samples(npz(tmp_path / "s.npz", **arrays), ("a", "b"))


def test_pickles_bombs_and_other_files_are_refused(tmp_path: Path) -> None:
    pickled = npz(tmp_path / "p.npz", x=np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataError, match="not a readable"):
        read_samples(pickled, None)
    (tmp_path / "t.npz").write_text("hello")
    with pytest.raises(DataError, match="not a readable"):
        read_samples(tmp_path / "t.npz", None)
    with pytest.raises(DataError, match="cannot read"):
        read_samples(tmp_path / "missing.npz", None)
    buffer = io.BytesIO()
    np.save(buffer, np.zeros((1_000_000, 2), np.float32))
    with zipfile.ZipFile(tmp_path / "b.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", buffer.getvalue())
    with pytest.raises(DataError, match="inflates to"):
        read_samples(tmp_path / "b.npz", None, inflated_bytes_max=1_000_000)


def test_topics_round_trip() -> None:
    address = parse_topic(topic("plant-1", "pump.7", Kind.STATISTICS))
    assert (address.fleet, address.device, address.kind) == ("plant-1", "pump.7", Kind.STATISTICS)


@pytest.mark.parametrize(
    "text",
    ["", "a/b", "headway/v2/f/d/ack", "headway/v1/f/d/nonsense", "headway/v1/f/d/ack/x", "headway/v1//d/ack",
     "headway/v1/f/_x/ack", "headway/v1/f/a b/ack", "headway/v1/f/" + "d" * 65 + "/ack"],
)  # fmt: skip
def test_foreign_topics_are_refused(text: str) -> None:
    with pytest.raises(RemoteError):
        parse_topic(text)


@pytest.mark.parametrize("name", ["", "_all", "a/b", "a#", "a b", "x" * 65])
def test_names_that_would_break_topics_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="device id"):
        checked_name(name, "device id")


def test_durable_write_replaces_and_leaves_nothing_behind(tmp_path: Path) -> None:
    target = tmp_path / "state"
    write_durably(target, b"old")
    write_durably(target, b"new")
    assert target.read_bytes() == b"new"
    assert [p.name for p in tmp_path.iterdir()] == ["state"]


def test_durable_write_to_a_missing_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot write"):
        write_durably(tmp_path / "gone" / "state", b"x")


def test_durable_write_keeps_the_old_bytes_when_the_new_cannot_be_put(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "state"
    write_durably(target, b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="No space left"):
        write_durably(target, b"new")
    assert target.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["state"]


def test_missing_values_get_the_training_mean() -> None:
    preprocessing = Preprocessing((2, 2), np.array([5.0, 7.0], np.float32))
    values, missing = preprocessing.apply(np.array([[[1, np.nan], [np.inf, 4]]]))
    assert values.tolist() == [[[1, 7], [5, 4]]]
    assert missing == 2
    assert values.dtype == np.float32


def test_windows_of_another_shape_or_without_a_value_are_refused() -> None:
    preprocessing = Preprocessing((2, 2), np.zeros(2, np.float32))
    with pytest.raises(DataError, match=r"shape \(3, 2\), the model takes \(2, 2\)"):
        preprocessing.apply(np.zeros((1, 3, 2)))
    with pytest.raises(DataError, match="sample 1 has no finite value"):
        preprocessing.apply(np.stack([np.zeros((2, 2)), np.full((2, 2), np.nan)]))


@pytest.mark.parametrize("number", ["1" + 309 * "0", "-" + 400 * "9", 5000 * "9", "1e309"])
def test_a_number_that_fits_no_float64_is_refused_wherever_it_stands(number: str) -> None:
    """Somebody divides it later, or shows it with a decimal."""
    with pytest.raises(RemoteError, match="x is not valid JSON"):
        parse_json(f'{{"a":[{number}]}}'.encode(), "x", RemoteError)


def test_digits_in_a_text_are_no_number() -> None:
    text = 400 * "9"
    assert parse_json(f'{{"a":"{text}","b":{2**53}}}'.encode(), "x", RemoteError) == {"a": text, "b": 2**53}
