"""Gives an ONNX graph a canonical order and canonical names, so that equal models give equal bytes.

tf2onnx numbers and orders constants as its sets iterate, which differs from process to process; a bundle's bytes must
not. Names are given by first use, along the nodes in their order; the names of inputs and outputs stay.
"""

from __future__ import annotations

from typing import Any


def canonical(model: Any) -> Any:
    """The same model, an onnx ModelProto, renamed in place; returned for convenience."""
    _rename(model.graph, {}, [0])
    return model


def _rename(graph: Any, outer: dict[str, str], counter: list[int]) -> None:
    """outer: new names that a subgraph may refer to; counter: the next free number, shared by all graphs."""
    names = dict(outer)
    for value in (*graph.input, *graph.output):
        names[value.name] = value.name if not outer else _next(counter)
    for node in graph.node:
        for name in (*node.input, *node.output):
            if name and name not in names:
                names[name] = _next(counter)
        # a subgraph uses the outer graph's constants without naming them as inputs
        for name in captured(node):
            if name not in names:
                names[name] = _next(counter)
    for node in graph.node:
        node.name = names[node.output[0]] if node.output and node.output[0] else _next(counter)
        node.input[:] = [names[name] if name else "" for name in node.input]
        node.output[:] = [names[name] if name else "" for name in node.output]
        node.doc_string = ""
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _rename(attribute.g, names, counter)
    kept = [tensor for tensor in graph.initializer if tensor.name in names]
    for tensor in kept:
        tensor.name = names[tensor.name]
    ordered = sorted(kept, key=lambda tensor: (len(tensor.name), tensor.name))
    copies = [type(tensor).FromString(tensor.SerializeToString()) for tensor in ordered]
    del graph.initializer[:]
    graph.initializer.extend(copies)
    for value in (*graph.input, *graph.output):
        value.name = names[value.name]
    del graph.value_info[:]  # shapes of intermediate values, inferred again on loading
    graph.doc_string = ""


def captured(node: Any) -> list[str]:
    """Names that the subgraphs of a node take from outside, in order of use."""
    found: list[str] = []
    for attribute in node.attribute:
        if attribute.HasField("g"):
            inner = attribute.g
            own = {value.name for value in inner.input} | {tensor.name for tensor in inner.initializer}
            own |= {name for within in inner.node for name in within.output}
            used = [name for within in inner.node for name in (*within.input, *captured(within))]
            used += [value.name for value in inner.output]
            found += [name for name in used if name and name not in own]
    return found


def _next(counter: list[int]) -> str:
    counter[0] += 1
    return f"v{counter[0]}"
