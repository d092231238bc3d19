"""Objects are whole when they are made: nobody sets an attribute of one from outside.

What an object needs comes through its constructor, and what changes afterwards changes in its own methods. A reader of
a class then sees everything that can happen to its objects.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache

from tests.architecture.rules import ROOT, sources

# programs beside the rooms that keep this rule too
BESIDE = ("demo", "testbed")
# objects of other projects, which offer no other way: file -> (what they are, the attributes set)
FOREIGN: dict[str, tuple[str, frozenset[str]]] = {
    "aggregator/api/application.py": ("a router of FastAPI", frozenset({"self.router.route_class"})),
    "aggregator/store/engine.py": ("a connection of sqlite3", frozenset({"connection.isolation_level"})),
    "converter/commands.py": ("the interpreter's own stderr", frozenset({"sys.stderr"})),
    "converter/export/conversions.py": (
        "TensorFlow's converter",
        frozenset(
            {
                "converter._experimental_disable_per_channel_quantization_for_dense_layers",
                "converter.optimizations",
                "converter.representative_dataset",
                "converter.target_spec.supported_ops",
                "converter.target_spec.supported_types",
            }
        ),
    ),
    "converter/export/trainable_graph.py": (
        "TensorFlow's converter",
        frozenset({"converter.experimental_enable_resource_variables", "converter.target_spec.supported_ops"}),
    ),
    "converter/proof/runtime_worker.py": (
        "session options of ONNX Runtime",
        frozenset({"options.inter_op_num_threads", "options.intra_op_num_threads"}),
    ),
    "converter/sources/onnx_source.py": ("ONNX protocol buffers", frozenset({"dimension.dim_value", "mean.name"})),
    "converter/sources/stable_operators.py": (
        "TensorFlow protocol buffers",
        frozenset(
            {
                "attribute.func.name",
                "function.signature.name",
                "made.attr['dtype'].type",
                "node.attr['T'].type",
                "node.op",
            }
        ),
    ),
    "converter/sources/frozen.py": ("a module of TensorFlow, which saves its attributes", frozenset({"module.serve"})),
    "converter/sources/keras_source.py": ("layers of Keras", frozenset({"layer.unroll"})),
    "converter/sources/onnx_names.py": (
        "ONNX protocol buffers",
        frozenset({"graph.doc_string", "node.doc_string", "node.name", "tensor.name", "value.name"}),
    ),
    "edge_agent/learner/gradient/trainer.py": (
        "a random generator of NumPy",
        frozenset({"self._random.bit_generator.state"}),
    ),
    "edge_agent/runtime.py": (
        "session options of ONNX Runtime",
        frozenset({"options.inter_op_num_threads", "options.intra_op_num_threads"}),
    ),
    "headway/mqtt/tls.py": (
        "an SSL context",
        frozenset({"context.maximum_version", "context.minimum_version", "context.sslsocket_class"}),
    ),
    "headway/tls.py": (
        "an SSL context",
        frozenset({"context.check_hostname", "context.verify_flags", "context.verify_mode"}),
    ),
    "headway/mqtt/transport.py": (
        "client and properties of paho",
        frozenset(
            {
                "client.connect_timeout",
                "client.on_connect",
                "client.on_disconnect",
                "client.on_message",
                "client.on_publish",
                "client.on_socket_open",
                "client.on_socket_register_write",
                "client.on_subscribe",
                "properties.ContentType",
                "properties.MaximumPacketSize",
                "properties.ReceiveMaximum",
                "properties.SessionExpiryInterval",
                "properties.UserProperty",
            }
        ),
    ),
}


@cache
def modules() -> dict[str, str]:
    """Every module of the rooms and of the programs beside them, by path."""
    files = [path for folder in BESIDE for path in sorted((ROOT / folder).rglob("*.py"))]
    return sources() | {str(path.relative_to(ROOT)): path.read_text() for path in files}


def set_from_outside(text: str) -> list[str]:
    """Attributes that a module sets or deletes on something else than self or cls, as written there."""
    return list(_set_from_outside(ast.parse(text)))


def complaints(path: str, text: str) -> list[str]:
    """Those of them that are not of another project's objects."""
    _, allowed = FOREIGN.get(path, ("", frozenset()))
    found = [name for name in set_from_outside(text) if name not in allowed]
    return [f"{path} sets {name} from outside" for name in found]


def unused(path: str, text: str) -> set[str]:
    """What a file is allowed to set and does not."""
    _, allowed = FOREIGN.get(path, ("", frozenset()))
    return set(allowed) - set(set_from_outside(text))


def _set_from_outside(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        # every form of assignment, loops, `with ... as` and `del` included, marks its targets like this
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store | ast.Del) and not _own(node.value):
            yield ast.unparse(node)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            # to write down every call in full would take seconds
            name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
            if name in _SETTER_WORDS and ast.unparse(node.func) in _SETTERS and not _own(node.args[0]):
                yield ast.unparse(node)


def _own(owner: ast.expr) -> bool:
    return isinstance(owner, ast.Name) and owner.id in ("self", "cls")


_SETTERS = ("setattr", "delattr", "object.__setattr__", "object.__delattr__")
_SETTER_WORDS = {name.rpartition(".")[2] for name in _SETTERS}
