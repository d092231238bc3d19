"""The rules of the house, each a function from source text to complaints, so that each can be shown to fire."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
ROOMS = ("headway", "converter", "edge_agent", "aggregator", "headway_client", "headway_simulation")
# who may import whom, beside itself and headway; nobody imports the simulation
# the client stands alone, and the commands of the server use it on servers elsewhere
MAY_IMPORT = {"headway_simulation": ("edge_agent", "aggregator"), "aggregator": ("headway_client",)}
LINES_MAX = 350
# modules that the face of their room leaves out, with the reason: they are imported by path
BY_PATH = {
    "headway.mqtt.transport": "loads paho and ssl",
    "headway.mqtt.handed": "loads paho and ssl",
    "headway.mqtt.tls": "loads ssl",
    "headway.mqtt.failures": "loads ssl",
    "headway.maths.many_statistics": "is of the server, which devices do not load",
    "headway.wire.plain_reports": "is of the server, which devices do not load",
    "aggregator.alerts.channels": "is of the threads that tell, not of the core",
    "aggregator.alerts.delivery": "is of the threads that tell, not of the core",
    "aggregator.alerts.mail": "loads ssl and smtplib",
    "aggregator.alerts.webhook": "loads ssl and http.client",
    "aggregator.monitoring.server": "loads prometheus_client",
    "aggregator.monitoring.service_metrics": "loads prometheus_client",
    "aggregator.monitoring.snapshots": "loads prometheus_client",
    "aggregator.enrolment.authority": "loads cryptography",
    "aggregator.enrolment.broker": "loads cryptography",
    "aggregator.enrolment.enrolment": "loads cryptography",
    "aggregator.enrolment.revocation": "loads cryptography",
    "aggregator.enrolment.endpoint": "loads FastAPI",
    "aggregator.registry.derived": "loads NumPy",
    "aggregator.registry.registry": "loads NumPy",
    "aggregator.access.passwords": "loads argon2",
    "aggregator.api.application": "loads FastAPI",
    "aggregator.operations.enrolment": "loads cryptography",
    "aggregator.store.serving": "loads SQLAlchemy",
    "aggregator.engine.on_ray": "loads Ray",
    "aggregator.store.working": "loads SQLAlchemy",
    "aggregator.store.sqlite_reader": "is for commands that load little",
    "aggregator.store.sql": "loads SQLAlchemy",
    "aggregator.store.schema": "loads SQLAlchemy",
    "aggregator.store.engine": "loads SQLAlchemy",
    "edge_agent.answers.http": "loads http.server",
    "edge_agent.delivery.selftest": "is a program of its own",
}
SERVER_ONLY = {"sqlalchemy"}
# commands, tables and pages of the server's side: never on a device
COMMANDS_ONLY = {"click", "rich", "jinja2"}
COMMANDS_FILE = "headway/command_line.py"
CONVERTER_ONLY = {"tensorflow", "keras", "onnx", "tf2onnx"}
# nobody reads or changes them by hand: python -m scripts.api writes them, and a test compares
WRITTEN = {"headway_client/models.py", "headway_client/operations.py"}
UNSAFE_MODULES = {"pickle", "shelve", "marshal", "dill"}
# writes .pyc files, and reads none
BYTECODE_WRITER = ("edge_agent/installing/compiling.py", "marshal")
PAHO_FILES = ("headway/mqtt/transport.py", "headway/mqtt/quick_client.py")
CLOCK_FILE = "headway/clocks.py"
TOPIC_FILE = "headway/wire/topics.py"


@cache
def sources() -> dict[str, str]:
    """Every module of the rooms, by path."""
    files = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
    return {str(path.relative_to(ROOT)): path.read_text() for path in files}


def complaints(path: str, text: str) -> list[str]:
    """Everything one module does that the house does not allow."""
    tree = ast.parse(text)
    room = path.split("/")[0]
    names = list(imported(tree))  # first: it takes out what is for types
    nodes = list(ast.walk(tree))
    found = [*_arrows(path, room, names), *_unsafe(path, names, nodes), *_clock(path, nodes)]
    if len(text.splitlines()) > LINES_MAX and path not in WRITTEN:
        found.append(f"has more than {LINES_MAX} lines")
    if ast.get_docstring(tree) is None:
        found.append("has no docstring")
    literals = [n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    docstrings = {ast.get_docstring(n, clean=False) for n in nodes if isinstance(n, _DOCUMENTED)}
    if path != TOPIC_FILE and any("headway/v1" in text for text in literals if text not in docstrings):
        found.append("builds a topic itself")
    return [f"{path} {complaint}" for complaint in found]


def imported(tree: ast.AST) -> Iterator[str]:
    """Dotted names a module imports at run time, those inside functions included, those for types left out.

    A face that loads what is in it later says what in its imports for types: these count.
    """
    is_later = any(isinstance(node, ast.Name) and node.id == "loaded_later" for node in ast.walk(tree))
    for node in () if is_later else ast.walk(tree):
        if isinstance(node, ast.If) and any(_last_name(part) == "TYPE_CHECKING" for part in ast.walk(node.test)):
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def cycles(modules: Mapping[str, str]) -> list[str]:
    """Import cycles among the modules (path -> source), as text."""
    names = _names(modules)
    return _cycles({name: _targets(modules[path], names) - {name} for name, path in names.items()})


def room_cycles(modules: Mapping[str, str]) -> list[str]:
    """Arrows between sub-packages that run back up: cycles in which each room without rooms inside counts as one."""
    names, rooms = _names(modules), _rooms(modules)
    enclosing = {room.rpartition(".")[0] for room in rooms}

    def node(name: str) -> str:
        room = name if name in rooms else name.rpartition(".")[0]
        return room if room in rooms - enclosing else name

    graph: dict[str, set[str]] = {node(name): set() for name in names}
    for name, path in names.items():
        graph[node(name)] |= {node(target) for target in _targets(modules[path], names)}
    return _cycles({name: targets - {name} for name, targets in graph.items()})


def past_faces(modules: Mapping[str, str]) -> list[str]:
    """Imports that go past the face (``__init__``) of another room, but for `BY_PATH`.

    A room may import single modules of the package around it, whose face imports the room itself.
    """
    names, rooms = _names(modules), _rooms(modules)
    found = []
    for name, path in names.items():
        for target in sorted(_targets(modules[path], names) - rooms - set(BY_PATH)):
            room = target.rpartition(".")[0]
            if room in rooms and not name.startswith(room):
                found.append(f"{path} imports {target} past the face of {room}")
    return found


def _names(modules: Mapping[str, str]) -> dict[str, str]:
    """Path by dotted name."""
    return {path.removesuffix(".py").removesuffix("/__init__").replace("/", "."): path for path in modules}


def _rooms(modules: Mapping[str, str]) -> set[str]:
    """Sub-packages, by dotted name."""
    return {name for name, path in _names(modules).items() if path.endswith("/__init__.py") and "." in name}


def _targets(text: str, names: Mapping[str, str]) -> set[str]:
    """Modules of ours that a source imports."""
    return {name for name in _imported_by(text) if name in names}


@cache
def _imported_by(text: str) -> tuple[str, ...]:
    return tuple(imported(ast.parse(text)))


def _cycles(graph: Mapping[str, set[str]]) -> list[str]:
    state: dict[str, int] = {}
    found: list[str] = []

    def visit(name: str, trail: list[str]) -> None:
        state[name] = 1
        for target in sorted(graph[name]):
            if state.get(target) == 1:
                found.append(" -> ".join([*trail[trail.index(target) :], target]))
            elif target not in state:
                visit(target, [*trail, target])
        state[name] = 2

    for name in sorted(graph):
        if name not in state:
            visit(name, [name])
    return found


_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def _arrows(path: str, room: str, names: list[str]) -> Iterator[str]:
    for name in names:
        top = name.split(".")[0]
        if top in ROOMS and top not in (room, "headway", *MAY_IMPORT.get(room, ())):
            yield f"imports {top}"
        if top == "paho" and path not in PAHO_FILES:
            yield "imports paho"
        if top in CONVERTER_ONLY and room != "converter":
            yield f"imports {top}"
        if top in COMMANDS_ONLY and room not in ("converter", "aggregator") and path != COMMANDS_FILE:
            yield f"imports {top}"
        if name == "headway.command_line" and room not in ("converter", "aggregator"):
            yield f"imports {name}"
        if top in SERVER_ONLY and room != "aggregator":
            yield f"imports {top}"
        if top in ("tests", "demo", "testbed", "benchmarks"):
            yield f"imports {top}"


def _unsafe(path: str, names: list[str], nodes: list[ast.AST]) -> Iterator[str]:
    for name in names:
        if name.split(".")[0] in UNSAFE_MODULES and (path, name) != BYTECODE_WRITER:
            yield f"imports {name}"
    for node in nodes:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("eval", "exec"):
            yield f"calls {node.func.id}"
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle" and ast.unparse(node.value) != "False":
            yield "allows pickle"
        if isinstance(node, ast.ExceptHandler) and all(isinstance(n, ast.Pass) for n in node.body):
            yield "swallows an exception"


def _clock(path: str, nodes: list[ast.AST]) -> Iterator[str]:
    if path == CLOCK_FILE:
        return
    for node in nodes:
        # to write down every call in full would take seconds
        if isinstance(node, ast.Call) and _last_name(node.func) in _CLOCK_WORDS and ast.unparse(node.func) in _CLOCKS:
            yield f"reads the clock itself: {ast.unparse(node.func)}"


def _last_name(node: ast.AST) -> str:
    """`c` of ``c`` and of ``a.b.c``; nothing of anything else."""
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


_CLOCKS = ("time.time", "time.monotonic", "datetime.now", "datetime.datetime.now", "datetime.utcnow")
_CLOCK_WORDS = {name.rpartition(".")[2] for name in _CLOCKS}
