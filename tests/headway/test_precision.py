"""Deltas in fewer bytes: how far off one is, that the sum of many is not, and what is refused."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from headway.errors import RemoteError
from headway.wire.precision import PACKED_MAX, Precision, dequantise, precision_of, quantise
from tests.arrays import assert_close

# of one delta, relative in L2: half a unit in the last place of float16; an int8 row of normal values, 127 levels
ERROR_MAX = {Precision.FLOAT32: 0.0, Precision.FLOAT16: 3e-4, Precision.INT8: 1.5e-2, Precision.PACKED: 1.5e-2}
# a delta of normal values, less its scale
BYTES = {Precision.FLOAT32: 4, Precision.FLOAT16: 2, Precision.INT8: 1, Precision.PACKED: 1}


def deltas(count: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return (random.normal(0, 1, (count, 10, 65)) * random.uniform(1e-3, 1, (count, 10, 1))).astype(np.float32)


@pytest.mark.parametrize("precision", list(Precision))
def test_one_delta_is_off_by_little_and_takes_fewer_bytes(precision: Precision) -> None:
    for delta in deltas(20):
        tensors = quantise(delta, precision)
        error = np.linalg.norm(dequantise(tensors) - delta) / np.linalg.norm(delta)
        assert error <= ERROR_MAX[precision]
        tensors.pop("scale", None)
        assert sum(tensor.nbytes for tensor in tensors.values()) <= delta.size * BYTES[precision]


@pytest.mark.parametrize("precision", list(Precision))
def test_with_error_feedback_the_sum_is_off_by_one_residual(precision: Precision) -> None:
    total, sent, residual = np.zeros((10, 65)), np.zeros((10, 65)), np.zeros((10, 65), np.float32)
    for delta in deltas(200):
        wanted = delta + residual
        arrived = dequantise(quantise(wanted, precision))
        residual = wanted - arrived
        total, sent = total + delta, sent + arrived
    assert_close(sent + residual, total, atol=1e-4)
    assert np.linalg.norm(residual) <= ERROR_MAX[precision] * 1.1 * np.linalg.norm(wanted) + 1e-6


@pytest.mark.parametrize("precision", list(Precision))
def test_zeros_and_giants_survive(precision: Precision) -> None:
    for value in (0.0, 1e-30, 1e-42, 1e30):
        delta = np.full((2, 3), value, np.float32)
        arrived = dequantise(quantise(delta, precision))
        assert_close(arrived, delta, rtol=1e-2, atol=1e-7)


def deflated(rows: bytes) -> np.ndarray:
    """A stream as other programs write it."""
    deflate = zlib.compressobj(6, zlib.DEFLATED, -15)
    return np.frombuffer(deflate.compress(rows) + deflate.flush(), np.uint8)


def test_a_packed_delta_is_the_int8_one_bit_for_bit_whoever_deflated_it() -> None:
    delta = np.concatenate(deltas(20), axis=1)
    plain, packed = (quantise(delta, precision) for precision in (Precision.INT8, Precision.PACKED))
    assert packed["packed"].nbytes < 0.87 * plain["delta"].nbytes
    assert precision_of(packed) is Precision.PACKED
    theirs = {"packed": deflated(plain["delta"].tobytes()), "scale": plain["scale"]}
    for tensors in (packed, theirs):
        assert dequantise(tensors).tobytes() == dequantise(plain).tobytes()


def test_a_delta_that_no_packed_message_can_hold_travels_plain() -> None:
    tensors = quantise(np.ones((2, PACKED_MAX), np.float32), Precision.PACKED)
    assert precision_of(tensors) is Precision.INT8


@pytest.mark.parametrize(
    "tensors",
    [
        {},
        {"scale": np.ones(2, np.float32)},
        {"delta": np.zeros((2, 3), np.int8)},
        {"delta": np.zeros((2, 3), np.int8), "scale": np.ones(3, np.float32)},
        {"delta": np.zeros((2, 3), np.int8), "scale": np.ones(2, np.float64)},
        {"delta": np.zeros((2, 3), np.int8), "scale": np.array([1, -1], np.float32)},
        {"delta": np.ones((2, 3), np.int8), "scale": np.array([1, np.nan], np.float32)},
        {"delta": np.ones((2, 3), np.int8), "scale": np.array([1, np.inf], np.float32)},
        {"delta": np.full((2, 3), 100, np.int8), "scale": np.full(2, 3e38, np.float32)},
        {"delta": np.full((2, 3), np.inf, np.float16)},
        {"delta": np.zeros((2, 3), np.float32), "scale": np.ones(2, np.float32)},
        {"delta": np.zeros((2, 3), np.float64)},
        {"delta": np.zeros(3, np.float32)},
        {"packed": deflated(bytes(6))},
        {"packed": deflated(bytes(6)), "scale": np.ones(2, np.float32), "delta": np.zeros((2, 3), np.int8)},
        {"packed": deflated(bytes(6)), "scale": np.ones(4, np.float32)},
        {"packed": deflated(b""), "scale": np.ones(2, np.float32)},
        {"packed": deflated(bytes(6))[:-1], "scale": np.ones(2, np.float32)},
        {"packed": np.append(deflated(bytes(6)), np.uint8(0)), "scale": np.ones(2, np.float32)},
        {"packed": np.full(9, 7, np.uint8), "scale": np.ones(2, np.float32)},
        {"packed": deflated(bytes(6)).astype(np.int8), "scale": np.ones(2, np.float32)},
        {"packed": deflated(bytes(PACKED_MAX + 2)), "scale": np.ones(2, np.float32)},
        {"packed": deflated(bytes(6)), "scale": np.ones((), np.float32)},
    ],
)
def test_what_nobody_quantised_is_refused(tensors: dict[str, np.ndarray]) -> None:
    with pytest.raises(RemoteError):
        dequantise(tensors)
