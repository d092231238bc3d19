"""Operations that TFLite computes in a form that fails where TensorFlow's does not, written otherwise beforehand.

Softplus becomes log(1 + exp(x)) there, infinite from 89 on; here it is max(x, 0) + log(1 + exp(-|x|)). A vector divided
by its length becomes L2_NORMALIZATION, NaN for a vector of zeros, which is what an unplugged sensor sends; here |sum|,
which is the sum, keeps the converter from seeing the pattern, and a floor below every float32 of ordinary size keeps
the root finite.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

FLOOR = 1e-37
ROOTS = ("Rsqrt", "Sqrt")
RENAMED = "_rewritten"
BETWEEN = ("Maximum", "AddV2", "Add", "Identity")


def in_stable_form(frozen: Any) -> Callable[[Any], Any]:
    """The same function of one tensor. A graph without such operations is returned as it is, a ConcreteFunction."""
    graph = frozen.graph.as_graph_def()
    changed = [_rewritten(holder) for holder in (graph.node, *(f.node_def for f in graph.library.function))]
    return _imported(frozen, graph) if any(changed) else frozen  # type: ignore[no-any-return]


def for_one_window(frozen: Any) -> Any:
    """The same function of one window: lists that loops keep were saved for any number, which TFLite cannot hold."""
    import tensorflow as tf

    graph = frozen.graph.as_graph_def()
    for nodes in (graph.node, *(f.node_def for f in graph.library.function)):
        by_name = {node.name: node for node in nodes}
        for node in nodes:
            for given in node.input if node.op.startswith("TensorList") else ():
                constant = by_name.get(given.split(":")[0])
                if constant is None or constant.op != "Const" or not constant.name.endswith("element_shape"):
                    continue
                shape = tf.make_ndarray(constant.attr["value"].tensor)
                constant.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(np.where(shape < 0, 1, shape)))
    return _imported(frozen, graph)


def _imported(frozen: Any, graph: Any) -> Any:
    """The function that a changed graph of `frozen` computes."""
    import tensorflow as tf

    _rename_functions(graph)
    source, target = frozen.inputs[0].name, frozen.outputs[0].name

    def run(x: Any) -> Any:
        (result,) = tf.graph_util.import_graph_def(graph, input_map={source: x}, return_elements=[target], name="")
        return result

    return tf.compat.v1.wrap_function(run, [tf.TensorSpec(frozen.inputs[0].shape, tf.float32)])


def _rename_functions(graph: Any) -> None:
    """The bodies of loops were changed; under their old names they would meet themselves as they were."""
    names = {function.signature.name for function in graph.library.function}
    for nodes in (graph.node, *(function.node_def for function in graph.library.function)):
        for node in nodes:
            for attribute in node.attr.values():
                if attribute.func.name in names:
                    attribute.func.name += RENAMED
    for function in graph.library.function:
        function.signature.name += RENAMED


def _rewritten(nodes: Any) -> bool:
    """nodes: of a graph or of a function in it, changed in place; whether any was."""
    by_name = {node.name: node for node in nodes}
    changed = False
    for node in list(nodes):
        if node.op == "Softplus":
            _softplus(nodes, node)
            changed = True
        elif node.op in ROOTS:
            changed |= _length(nodes, node, by_name)
    return changed


def _softplus(nodes: Any, node: Any) -> None:
    source, name = node.input[0], node.name
    in_function = source.count(":") == 2  # within a function results are named node:output:index

    def add(operation: str, *given: str, result: str = "y") -> str:
        made = nodes.add(name=f"{name}/{operation}", op=operation, input=given)
        made.attr["T"].CopyFrom(node.attr["T"])
        return f"{made.name}:{result}:0" if in_function else str(made.name)

    one = _constant(nodes, f"{name}/one", 1.0)
    one = f"{one}:output:0" if in_function else one
    # not Log1p, which tf2onnx leaves as it is and ONNX does not have
    logarithm = add("Log", add("AddV2", one, add("Exp", add("Neg", add("Abs", source))), result="z"))
    positive = add("Relu", source, result="activations")
    kept = node.attr["T"].type
    node.op = "AddV2"
    node.attr.clear()
    node.attr["T"].type = kept
    node.input[:] = [positive, logarithm]


def _length(nodes: Any, root: Any, by_name: dict[str, Any]) -> bool:
    """|sum| and a floor between a sum of squares and its root; whether it is one."""
    below = root
    while True:
        name = below.input[0]
        maker = by_name.get(name.split(":")[0])
        if maker is None or name.count(":") == 2 or maker.op not in (*BETWEEN, "Sum"):
            return False
        if maker.op == "Sum":
            break
        below = maker
    squares = by_name.get(maker.input[0].split(":")[0])
    if squares is None:
        return False
    if squares.op != "Square" and not (squares.op == "Mul" and squares.input[0] == squares.input[1]):
        return False
    made = nodes.add(name=f"{root.name}/abs", op="Abs", input=[name])
    made.attr["T"].CopyFrom(root.attr["T"])
    below.input[0] = made.name
    floor = _constant(nodes, f"{root.name}/floor", FLOOR)
    floored = nodes.add(name=f"{root.name}/floored", op="Maximum", input=[root.input[0], floor])
    floored.attr["T"].CopyFrom(root.attr["T"])
    root.input[0] = floored.name
    return True


def _constant(nodes: Any, name: str, value: float) -> str:
    """The name of a new float32 constant."""
    import tensorflow as tf

    made = nodes.add(name=name, op="Const")
    made.attr["dtype"].type = tf.float32.as_datatype_enum
    made.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(np.float32(value)))
    return name
