"""Heads in the learner's units."""

from __future__ import annotations

import numpy as np
import pytest

from headway.bundle.head_weights import fold_frozen_head, head_over_codes, weights_over_unit_codes
from headway.maths.features import FeatureMap
from headway.maths.head import Head, HeadInput, HeadKind
from tests.arrays import assert_close


def frozen(size: int = 4, kind: HeadKind = HeadKind.SOFTMAX) -> Head:
    random = np.random.default_rng(3)
    kernel = random.normal(size=(size, 3)).astype(np.float32)
    return Head(kernel, random.normal(size=3).astype(np.float32), kind, ("a", "b", "c"), HeadInput.EMBEDDING)


def test_folding_keeps_the_frozen_head_and_units_invert() -> None:
    head = frozen()
    feature_map = FeatureMap(4, np.array([1, 2, 3, 4], np.float32))
    folded = fold_frozen_head(head, feature_map)
    embedding = np.random.default_rng(4).uniform(-1, 1, (20, 4)).astype(np.float32)
    codes, _ = feature_map.codes(embedding)
    assert_close(folded.logits(codes.astype(np.float32)), head.logits(embedding), atol=0.1)
    back = head_over_codes(weights_over_unit_codes(folded), folded.classes)
    assert_close(back.kernel, folded.kernel, rtol=1e-6)


def test_folding_through_a_projection_that_drops_nothing_keeps_the_head() -> None:
    """Rows that lie in the projection's plane lose nothing by it."""
    random = np.random.default_rng(5)
    components = np.linalg.qr(random.normal(size=(6, 3)))[0].astype(np.float32)
    mean = random.normal(size=6).astype(np.float32)
    head, feature_map = frozen(6), FeatureMap(6, np.full(3, 3.0, np.float32), None, mean, components)
    embedding = (mean + random.uniform(-1, 1, (30, 3)) @ components.T).astype(np.float32)
    codes, _ = feature_map.codes(embedding)
    folded = fold_frozen_head(head, feature_map)
    assert_close(folded.logits(codes.astype(np.float32)), head.logits(embedding), atol=0.1)


@pytest.mark.parametrize("kind", list(HeadKind))
def test_outputs_of_different_units_invert_too(kind: HeadKind) -> None:
    folded = fold_frozen_head(frozen(kind=kind), FeatureMap(4, np.ones(4, np.float32)))
    scale = np.array([0.1, 1.0, 300.0], np.float32)
    back = head_over_codes(weights_over_unit_codes(folded, scale), folded.classes, kind, scale)
    assert_close(back.kernel, folded.kernel, rtol=1e-5)
    assert_close(back.bias, folded.bias, rtol=1e-5)
    assert back.kind is kind
