"""What a bundle means: round trip, golden, and content that does not fit together. Text: docs/bundle-format.md."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from headway.bundle.container import (
    FORMAT_VERSION,
    HEADER,
    MAGIC,
    decode_container,
    encode_container,
    manifest_with_members,
)
from headway.bundle.signing import CURVE_MODULUS, ORDER_8_Y, SMALL_ORDER_Y, read_public_key
from headway.bundle.variant import Backbone, TrainingRows, Variant, decode_variant, read_variant
from headway.errors import BundleError, ConfigError, LocalError
from headway.maths.features import FeatureMap
from headway.maths.head import Head, HeadInput, HeadKind
from headway.maths.preprocessing import Preprocessing
from headway.maths.statistics import Statistics
from headway.maths.window_features import WindowFeatures
from headway.stream import Channel, StreamFormat
from headway.tensors import decode_tensors, encode_tensors
from tests.headway.bundles import GOLDEN, PUBLIC_KEY, featured_variant, golden_bundles, sign, small_variant

TENSORS = "tensors.safetensors"
finite = st.floats(-1e6, 1e6, width=32)


@pytest.mark.parametrize("name", ["plain", "signed", "plain-without-hash", "signed-without-hash"])
def test_the_golden_bundles_are_read(name: str) -> None:
    """Those that were written before the manifest had a hash of its own, too."""
    path = GOLDEN / f"{name}.hwb"
    variant = read_variant(path, public_key=PUBLIC_KEY if name.startswith("signed") else None)
    assert variant.encode() == small_variant().encode()
    assert ("manifest_sha256" in str(decode_container(path.read_bytes()).manifest)) is not name.endswith("hash")
    assert variant.classes == ("idle", "walk", "laufen äöü")
    assert (variant.name, variant.version, variant.release) == ("watch", "1.4.0", 3)


@pytest.mark.parametrize("name", ["features.hwb", "features-without-hash.hwb"])
def test_the_golden_bundle_without_a_backbone_is_read(name: str) -> None:
    found = read_variant(GOLDEN / name)
    assert found.encode() == featured_variant().encode()
    assert (found.without_backbone, found.backbones, found.preprocessing.output_shape) == (True, (), (4,))
    assert found.preprocessing.front_end == WindowFeatures(("mean", "max"))
    inputs, _ = found.preprocessing.apply(found.probe_inputs)
    assert inputs.tolist() == [[0.25, 0.5, 0.5, 0.75], [1.25, 1.5, 1.5, 1.75]]


@pytest.mark.parametrize("name", ["plain.hwb", "signed.hwb", "features.hwb"])
def test_the_golden_bundles_are_written(name: str) -> None:
    golden, written = (GOLDEN / name).read_bytes(), golden_bundles()[name]
    if _packed(golden) != _packed(written):
        pytest.skip("this build of zlib packs the same numbers into other bytes")
    assert written == golden


def test_no_flipped_bit_in_a_manifest_goes_unseen(tmp_path: Path) -> None:
    """But in the name of the hash, which then is a figure of the conversion that nobody knows: all else is whole."""
    whole = (GOLDEN / "plain.hwb").read_bytes()
    begin, name = HEADER.size, whole.index(b"manifest_sha256")
    for where in range(begin, whole.index(b"TFL3") - 64):
        flipped = whole[:where] + bytes([whole[where] ^ 1 << where % 7]) + whole[where + 1 :]
        if name <= where < name + len(b"manifest_sha256"):
            continue
        with pytest.raises(BundleError):
            decode_variant(decode_container(flipped))
    damaged = tmp_path / "damaged.hwb"
    damaged.write_bytes(whole.replace(b'"walk"', b'"wall"'))
    with pytest.raises(BundleError) as refused:
        read_variant(damaged)
    assert str(refused.value) == (
        f"{damaged}: manifest does not match its manifest_sha256: the file is damaged or was altered"
    )


@pytest.mark.parametrize("said", [b'""', b"0", b"null", b'"' + b"0" * 64 + b'"', b'"' + b"A" * 64 + b'"'])
def test_a_hash_that_says_nothing_is_none_that_is_left_out(said: bytes) -> None:
    whole = (GOLDEN / "plain.hwb").read_bytes()
    manifest = re.sub(rb'(?<="manifest_sha256":)"\w+"', said, decode_container(whole).manifest_bytes)
    with pytest.raises(BundleError, match="does not match its manifest_sha256"):
        decode_container(HEADER.pack(MAGIC, FORMAT_VERSION, 0, len(manifest)) + manifest)


def _packed(payload: bytes) -> bytes:
    tensors, _ = decode_tensors(decode_container(payload).members[TENSORS], TENSORS, BundleError, 1 << 20)
    return tensors["source.gram"].tobytes() + tensors["source.class_sums"].tobytes()


@st.composite
def variants(draw: st.DrawFn) -> Variant:
    size, count, features = draw(st.integers(1, 4)), draw(st.integers(1, 4)), draw(st.integers(1, 5))
    classes = tuple(f"c{i}" for i in range(count))
    kind = draw(st.sampled_from(HeadKind))
    codes = draw(hnp.arrays(np.int8, (3, features), elements=st.integers(-127, 127)))
    labels = draw(hnp.arrays(np.int64, 3, elements=st.integers(0, count - 1)))
    floats = lambda *shape: draw(hnp.arrays(np.float32, shape, elements=finite))  # noqa: E731
    scale = np.abs(floats(features)) + np.float32(0.5)
    components, mean = (floats(features, features), floats(features)) if draw(st.booleans()) else (None, None)
    map_ = FeatureMap(features, scale, None, mean, components)
    rows = draw(
        st.sampled_from([None, TrainingRows(codes, labels=labels), TrainingRows(codes, targets=floats(3, count))])
    )
    return Variant(
        name=draw(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=9)),
        version=draw(st.from_regex(r"[0-9]{1,3}\.[0-9]{1,3}", fullmatch=True)),
        release=draw(st.integers(0, 2**53)),
        backbones=(Backbone("backbone/int8.onnx", "onnx", "int8", draw(st.booleans()), draw(st.binary(max_size=99))),),
        head=Head(floats(features, count), floats(count), kind, classes, HeadInput.EMBEDDING),
        features=map_,
        preprocessing=Preprocessing((size,), floats(size)),
        training_statistics=Statistics.of(codes, labels, classes, map_.fingerprint("x")),
        probe_inputs=floats(2, size),
        probe_embedding=floats(2, features),
        buffer=rows,
    )


@settings(max_examples=40, deadline=None)
@given(variant=variants())
def test_a_variant_survives_its_bundle(variant: Variant) -> None:
    payload = variant.encode()
    found = decode_variant(decode_container(payload))
    assert found.encode() == payload
    assert found.training_statistics == variant.training_statistics
    assert (found.name, found.version, found.release) == (variant.name, variant.version, variant.release)


def altered(
    manifest: Callable[[dict[str, Any]], object] = lambda m: None,
    tensors: Callable[[dict[str, Any]], object] = lambda t: None,
    members: Callable[[dict[str, bytes]], object] = lambda m: None,
) -> Callable[[], bytes]:
    """Makes the small bundle, whole and well hashed, with its content changed in place; each process collects all."""

    def make() -> bytes:
        container = decode_container(small_variant().encode())
        table = {key: value for key, value in container.manifest.items() if key != "members"}
        held = dict(container.members)
        loaded, _ = decode_tensors(held[TENSORS], TENSORS, BundleError, 1 << 20)
        manifest(table)
        tensors(loaded)
        held[TENSORS] = encode_tensors(loaded)
        members(held)
        return encode_container(table, held)

    return make


def put(key: str, value: object) -> Callable[[dict[str, Any]], object]:
    return lambda table: table.__setitem__(key, value)


def first(key: str, value: object) -> Callable[[dict[str, Any]], object]:
    return lambda table: table["backbones"][0].__setitem__(key, value)


def fronted(**changes: object) -> Callable[[], bytes]:
    """The small bundle with a front end."""
    fitting = {"kind": "features", "names": ["mean"], "shape": [2]}
    found = {key: value for key, value in (fitting | changes).items() if value is not None}
    return altered(lambda m: m["preprocessing"].update(front_end=found))


LOG_MEL = {"kind": "log-mel", "names": None, "rate_hz": 8.0, "frame": 2, "hop": 1, "fft": 2, "bands": 2, "low_hz": 0.0,
           "high_hz": 4.0, "shape": [1, 2]}  # fmt: skip


def drop(key: str) -> Callable[[dict[str, Any]], object]:
    return lambda table: table.pop(key)


def stream(without: str = "", **changes: object) -> Callable[[dict[str, Any]], object]:
    """One that fits, with these changes."""
    fitting = {"channels": [{"name": "x", "unit": "g"}, {"name": "y"}], "rate_hz": 50.0, "length": 2, "hop": 1}
    found = {key: value for key, value in (fitting | changes).items() if key != without}
    return put("stream", found)


def bomb() -> np.ndarray:
    """Fifty megabytes of zeros in as many kilobytes, where a table of 15 values belongs."""
    return np.frombuffer(b"\2" + zlib.compress(bytes(50 << 20), 9), np.uint8)


def wide() -> dict[str, np.ndarray]:
    """An expansion one feature too large; its Gram would take 134 MB."""
    shapes = {"expansion.weights": (4, 4095), "expansion.bias": (4095,), "features.scale": (4097,)}
    return {name: np.ones(shape, np.float32) for name, shape in shapes.items()}


NAN = np.full((2, 3), np.nan, np.float32)
BROKEN: dict[str, tuple[Callable[[], bytes], str]] = {
    "another-kind": (altered(put("kind", "firmware")), "kind of manifest must be one of headway-variant"),
    "unknown-key": (altered(put("colour", 1)), "unknown key 'colour' in manifest"),
    "missing-key": (altered(drop("release")), "manifest lacks 'release'"),
    "negative-release": (altered(put("release", -1)), "release of manifest must be a whole number"),
    "no-shape": (altered(put("input_shape", [])), "names no input shape"),
    "huge-shape": (altered(put("input_shape", [1 << 20, 1 << 20])), "has more than 16777216 values"),
    "no-class": (altered(put("classes", [])), "no class"),
    "same-class-twice": (altered(put("classes", ["a", "a", "b"])), "classes must be different"),
    "unknown-link": (altered(put("link", "tanh")), "link of manifest must be one of softmax"),
    "no-backbone": (altered(put("backbones", [])), "no backbone"),
    "unknown-engine": (altered(first("engine", "caffe")), "must be one of tflite, onnx"),
    "unknown-precision": (altered(first("precision", "int4")), "must be one of float32"),
    "unknown-runtime": (altered(first("runtimes", {"tvm": "1"})), "unknown key 'tvm'"),
    "runtime-of-another-engine": (altered(first("runtimes", {"onnxruntime": "1.2"})), "unknown key 'onnxruntime'"),
    "version-that-is-none": (altered(first("runtimes", {"tflite-runtime": "new"})), "is not a version such as"),
    "backbone-not-there": (altered(first("member", "backbone/gone.tflite")), "is listed but not in the bundle"),
    "tensors-as-backbone": (altered(first("member", TENSORS)), "is listed but not in the bundle"),
    "member-nobody-uses": (altered(members=put("extra.bin", b"x")), "its manifest uses"),
    "tensors-missing": (altered(members=drop(TENSORS)), "its manifest uses"),
    "tensors-not-tensors": (altered(members=put(TENSORS, b"\xff" * 40)), "is not a safetensors file"),
    "tensor-missing": (altered(tensors=drop("head.bias")), "tensor head.bias is missing"),
    "tensor-unknown": (altered(tensors=put("more", np.zeros(1, np.float32))), r"unknown tensors ['more']"),
    "tensor-of-another-type": (altered(tensors=put("head.bias", np.zeros(3))), "head.bias must be finite float32"),
    "tensor-of-another-shape": (altered(tensors=put("head.bias", np.zeros(4, np.float32))), "got float32 (4,)"),
    "tensor-not-finite": (altered(tensors=put("probe.embedding", NAN)), "tensor probe.embedding must be finite"),
    "scale-of-zero": (altered(tensors=put("features.scale", np.zeros(4, np.float32))), "must be positive"),
    "many-features": (altered(tensors=lambda t: t.update(wide())), "4097 features; a device holds at most 4096"),
    "half-a-projection": (altered(tensors=drop("features.mean")), "needs both its mean and its components"),
    "mean-of-another-size": (altered(tensors=put("features.mean", np.zeros(2, np.float32))), "less a mean of"),
    "expansion-of-another-size": (
        altered(tensors=put("expansion.weights", np.zeros((5, 2), np.float32))), "takes 5 values, the input has 4"),
    "expansion-not-announced": (altered(put("expansion", "none")), "the map makes 2"),
    "half-a-standardisation": (altered(tensors=drop("preprocessing.gain")), "needs both an offset and a gain"),
    "half-a-clip": (
        altered(tensors=put("preprocessing.low", np.zeros(2, np.float32))), "a low and a high bound"),
    "clip-upside-down": (
        altered(tensors=lambda t: t.update({"preprocessing.low": np.ones(2, np.float32),
                                            "preprocessing.high": np.zeros(2, np.float32)})), "above its high one"),
    "unknown-denoise": (altered(lambda m: m["preprocessing"].update(denoise="wavelet")), "wavelet"),
    "pass-without-cutoff": (altered(lambda m: m["preprocessing"].update(denoise="low-pass")), "a cutoff belongs to"),
    "cutoff-without-pass": (altered(lambda m: m["preprocessing"].update(cutoff=0.1)), "a cutoff belongs to"),
    "unknown-front-end": (fronted(kind="wavelet"), "kind of front_end of preprocessing of manifest must be one of"),
    "unknown-feature": (fronted(names=["mean", "loudness"]), "features mean, loudness: give different ones of mean,"),
    "feature-twice": (fronted(names=["mean", "mean"]), "features mean, mean: give different ones of"),
    "front-end-of-another-shape": (fronted(shape=[3]), "makes (2,) of a window; that does not fit a shape (3,)"),
    "front-end-unknown-key": (fronted(speed=1), "unknown key 'speed' in front_end of"),
    "log-mel-of-two-channels": (fronted(**LOG_MEL), "windows of shape (2, 2) are no sound"),
    "log-mel-of-huge-size": (fronted(**LOG_MEL | {"fft": 1 << 24}), "at most 32768 values"),
    "log-mel-upside-down": (fronted(**LOG_MEL | {"low_hz": 4.0}), "must rise"),
    "embedding-of-something": (altered(put("embedding", "output")), "embedding of manifest must be one of input"),
    "backbones-and-none": (altered(put("embedding", "input")), "without a backbone the embedding is the preprocessed"),
    "even-median": (altered(lambda m: m["preprocessing"].update(median_width=4)), "median width 4 must be odd"),
    "no-probe": (
        altered(tensors=lambda t: t.update({"probe.inputs": np.zeros((0, 2, 2), np.float32),
                                            "probe.embedding": np.zeros((0, 3), np.float32)})), "0 probe inputs"),
    "probes-that-do-not-pair": (
        altered(tensors=put("probe.inputs", np.zeros((3, 2, 2), np.float32))), "3 probe inputs and 2 probe embeddings"),
    "gram-not-packed": (altered(tensors=put("source.gram", np.zeros(9, np.uint8))), "packed table starts with 00"),
    "gram-bomb": (
        altered(tensors=lambda t: t.update({"source.gram": bomb()})), "does not inflate to exactly 15 values"),
    "label-outside": (altered(tensors=put("buffer.labels", np.array([0, 3]))), "buffer.labels must be int64 class"),
    "labels-of-another-length": (altered(tensors=put("buffer.labels", np.array([0]))), "one per row"),
    "stream-no-table": (altered(put("stream", [1])), "stream of"),
    "stream-unknown-key": (altered(stream(speed=2)), "unknown key 'speed' in stream of"),
    "stream-missing-key": (altered(stream("rate_hz")), "lacks 'rate_hz'"),
    "stream-without-channels": (altered(stream(channels=[])), "channels must have different, non-empty names"),
    "stream-same-channel-twice": (altered(stream(channels=[{"name": "a"}] * 2)), "must have different, non-empty"),
    "stream-channel-without-name": (altered(stream(channels=[{"name": ""}] * 2)), "must have different, non-empty"),
    "stream-many-channels": (altered(stream(channels=[{"name": "a"}] * 4097)), "a list of at most 4096 tables"),
    "stream-rate-of-zero": (altered(stream(rate_hz=0)), "rate_hz of stream of"),
    "stream-length-of-zero": (altered(stream(length=0)), "length of stream of"),
    "stream-fractional-length": (altered(stream(length=1.5)), "length of stream of"),
    "stream-negative-hop": (altered(stream(hop=-1)), "hop of stream of"),
    "stream-unknown-resampling": (altered(stream(resampling="cubic")), "resampling of stream of"),
    "stream-unknown-gap": (altered(stream(gap="forget")), "gap of stream of"),
    "stream-gap-without-grid": (altered(stream(resampling="none", gap="missing")), "needs a grid of time steps"),
    "stream-gap-of-many-steps": (altered(stream(gap_s=1e7, rate_hz=1e6)), "is more than 16777216 time steps"),
    "stream-of-another-length": (altered(stream(length=3)), "windows of 3 time steps and 2 channels do not fit"),
    "stream-of-other-channels": (altered(stream(channels=[{"name": "a"}])), "1 channels do not fit an input (2, 2)"),
    "stream-long-unit": (altered(stream(channels=[{"name": "a", "unit": "m" * 33}, {"name": "b"}])), "unit of"),
    "evaluation-not-finite": (
        altered(tensors=put("evaluation.values", np.full((2, 2, 2), np.inf, np.float32))), "must be finite"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_content_that_does_not_fit_is_refused_in_one_line(case: str, tmp_path: Path) -> None:
    make, message = BROKEN[case]
    path = tmp_path / "b.hwb"
    path.write_bytes(make())
    with pytest.raises(BundleError) as caught:
        read_variant(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_a_later_release_writes_without_need_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "later.hwb"
    path.write_bytes(altered(put("optional", {"of-release-9": {"deep": [1]}}))())
    assert read_variant(path).encode() == small_variant().encode()


def test_a_signature_is_checked_when_a_key_is_given(tmp_path: Path) -> None:
    signed, plain = tmp_path / "signed.hwb", tmp_path / "plain.hwb"
    small_variant().write(signed, sign)
    small_variant().write(plain)
    assert read_variant(signed, public_key=PUBLIC_KEY).release == 3
    assert read_variant(signed).release == 3
    with pytest.raises(BundleError, match="is not signed, and a public key is configured"):
        read_variant(plain, public_key=PUBLIC_KEY)
    with pytest.raises(BundleError, match="signature does not match public key 01010101"):
        read_variant(signed, public_key=b"\1" * 32)


def test_a_signed_manifest_cannot_be_exchanged(tmp_path: Path) -> None:
    variant = small_variant()
    newer = replace(variant, release=9)
    signature = sign(manifest_with_members(variant._manifest(), variant._members()))
    forged = tmp_path / "forged.hwb"
    forged.write_bytes(encode_container(newer._manifest(), newer._members(), signature))
    with pytest.raises(BundleError, match="altered after signing"):
        read_variant(forged, public_key=PUBLIC_KEY)


def test_an_older_release_is_refused() -> None:
    assert read_variant(GOLDEN / "plain.hwb", release_min=3).release == 3
    with pytest.raises(BundleError, match="release 3 is older than 4, which was already accepted"):
        read_variant(GOLDEN / "plain.hwb", release_min=4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot read public key"),
        ("", "is not a public key"),
        ("headway-ed25519 " + "0" * 62, "64 hexadecimal digits"),
        ("ssh-ed25519 " + "0" * 64, "is not a public key"),
        ("-----BEGIN PRIVATE KEY-----\n", "is a private key; give the .pub file"),
        ("\u00fc", "cannot read public key"),
    ],
)
def test_a_public_key_that_is_none_is_named(text: str | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "key.pub"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_public_key(path)


def test_a_variant_is_checked_when_built() -> None:
    with pytest.raises(LocalError, match="source rows need either labels or targets"):
        TrainingRows(np.zeros((2, 3)))
    with pytest.raises(LocalError, match="2 probe inputs and 0 probe"):
        replace(small_variant(), probe_embedding=np.zeros((0, 3), np.float32))


@pytest.mark.parametrize("sign_of_x", [0, 1])
@pytest.mark.parametrize("y", [*sorted(SMALL_ORDER_Y), CURVE_MODULUS, CURVE_MODULUS + 1])
def test_a_public_key_for_which_anybody_can_sign_is_refused(y: int, sign_of_x: int, tmp_path: Path) -> None:
    path = tmp_path / "weak.pub"
    path.write_text(f"headway-ed25519 {(y | sign_of_x << 255).to_bytes(32, 'little').hex()}\n")
    with pytest.raises(ConfigError, match="anybody can sign"):
        read_public_key(path)


def test_points_of_order_8_double_to_those_of_order_4() -> None:
    # the curve is -x^2 + y^2 = 1 + d x^2 y^2; a doubled point has y = 0 where y^2 = -x^2
    d = -121665 * pow(121666, -1, CURVE_MODULUS)
    assert (d * ORDER_8_Y**4 + 2 * ORDER_8_Y**2 - 1) % CURVE_MODULUS == 0


STREAM = StreamFormat((Channel("x", "g"), Channel("y")), rate_hz=50.0, length=3, hop=1)


def test_a_stream_is_carried_and_must_fit_the_input() -> None:
    plain = small_variant()
    length, channels = plain.input_shape if len(plain.input_shape) == 2 else (1, plain.input_shape[0])
    names = tuple(Channel(f"c{i}", "g") for i in range(channels))
    carried = replace(plain, stream=replace(STREAM, channels=names, length=length))
    assert decode_variant(decode_container(carried.encode())).stream == carried.stream
    assert b'"stream"' not in plain.encode()
    with pytest.raises(LocalError, match="do not fit an input"):
        replace(plain, stream=replace(STREAM, channels=names, length=length + 1))
