"""Compiles an environment's modules without their docstrings, which nobody reads on a device.

    python3 -m edge_agent.installing.compiling /opt/headway/lib

Half of what importing NumPy makes is its documentation. Python's own way to leave it out (-OO) takes assertions away
too, and looks for files that a system's Python does not have (docs/adr/0063-small-for-a-week.md).
"""

from __future__ import annotations

import ast
import importlib.util
import marshal
import sys
from pathlib import Path
from types import CodeType

# the grammar of pycparser stands in its docstrings
AS_THEY_ARE = ("pycparser", "cffi", "cryptography")


def compile_environment(folder: Path) -> None:
    """Write the .pyc of every module below `folder`, which may be moved with it.

    What Python cannot compile, such as a module for another version, is left to it. Raises OSError.
    """
    for source in sorted(folder.rglob("*.py")):
        try:
            tree = ast.parse(source.read_bytes())
            if not any(part in AS_THEY_ARE for part in source.relative_to(folder).parts):
                _without_docstrings(tree)
            code = compile(tree, str(source), "exec", dont_inherit=True)
        except (SyntaxError, ValueError):
            continue
        target = Path(importlib.util.cache_from_source(str(source), optimization=""))
        target.parent.mkdir(exist_ok=True)
        status = source.stat()
        target.write_bytes(_pyc(code, int(status.st_mtime), status.st_size))


def _without_docstrings(tree: ast.AST) -> None:
    """An empty one stays, because NumPy wants one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            match node.body:
                case [ast.Expr(value=ast.Constant(value=str()) as documentation), *_]:
                    documentation.value = ""


def _pyc(code: CodeType, modified_s: int, size_bytes: int) -> bytes:
    """As `py_compile` writes it, valid while the source has this date and size."""
    numbers = (0, modified_s & 0xFFFFFFFF, size_bytes & 0xFFFFFFFF)
    return importlib.util.MAGIC_NUMBER + b"".join(each.to_bytes(4, "little") for each in numbers) + marshal.dumps(code)


if __name__ == "__main__":
    compile_environment(Path(sys.argv[1]))
