"""Replaces operators that tf2onnx writes but ONNX does not define by operators that it does."""

from __future__ import annotations

from typing import Any

import numpy as np


def with_standard_operators(model: Any) -> Any:
    """The model with every Erfc (Keras's exact GELU) as 1 - Erf, in place. Raises nothing; other nodes stay."""
    from onnx import helper, numpy_helper

    graph = model.graph
    nodes = list(graph.node)
    if not any(node.op_type == "Erfc" for node in nodes):
        return model
    one = "headway/one"
    graph.initializer.append(numpy_helper.from_array(np.array(1.0, np.float32), one))
    del graph.node[:]
    for node in nodes:
        if node.op_type != "Erfc":
            graph.node.append(node)
            continue
        erf = f"{node.output[0]}/erf"
        graph.node.append(helper.make_node("Erf", list(node.input), [erf], name=erf))
        graph.node.append(helper.make_node("Sub", [one, erf], list(node.output), name=node.name))
    return model
