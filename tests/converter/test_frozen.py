"""Freezing: the same function without variables, loops kept, and state that cannot be frozen named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converter.sources.frozen import freeze, only, write_frozen
from headway.errors import ModelError
from tests.arrays import assert_close
from tests.optional import when_used

keras = when_used("keras")
tf = when_used("tensorflow")
layers = when_used("keras.layers")
SHAPE = (None, 5, 2)
X = np.random.default_rng(0).normal(size=(4, 5, 2)).astype(np.float32)


def recurrent() -> Any:
    keras.utils.set_random_seed(0)
    return keras.Sequential([layers.Input((5, 2)), layers.GRU(3), layers.BatchNormalization(), layers.Dense(2)])


def test_what_is_written_holds_constants_and_computes_the_same(tmp_path: Path) -> None:
    model = recurrent()
    frozen = freeze(lambda x: model(x, training=False), SHAPE)
    write_frozen(frozen, SHAPE, tmp_path / "saved")
    loaded = tf.saved_model.load(str(tmp_path / "saved"))
    assert loaded.signatures["serving_default"].variables == ()
    (found,) = loaded.signatures["serving_default"](x=tf.constant(X)).values()
    expected = model.predict(X, verbose=0)
    assert_close(found, expected, atol=1e-6)
    assert_close(only(frozen(tf.constant(X))), expected, atol=1e-6)


def test_loops_stay_loops() -> None:
    model = recurrent()
    operations = {op.type for op in freeze(lambda x: model(x, training=False), SHAPE).graph.get_operations()}
    assert operations & {"While", "StatelessWhile"}
    assert not operations & {"Switch", "Merge", "ReadVariableOp"}


def test_a_lookup_table_is_named() -> None:
    table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer([1], [2.0], tf.int32, tf.float32), 0.0)
    with pytest.raises(ModelError, match="cannot be frozen, such as a lookup table") as caught:
        freeze(lambda x: table.lookup(tf.cast(x, tf.int32)), SHAPE)
    assert "\n" not in str(caught.value)
