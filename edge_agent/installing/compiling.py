"""Compiles an environment's modules without their docstrings, which nobody reads on a device.

Half of what importing NumPy makes is its documentation. Python's own way to leave it out (-OO) takes assertions away
too, and looks for files that a system's Python does not have (docs/adr/0063-small-for-a-week.md).
"""

from __future__ import annotations

import ast
import importlib.util
import marshal
import subprocess
import sys
from pathlib import Path
from types import CodeType

# packages and modules whose docstrings are read: the grammar of pycparser, and what numpy.ma makes its own of
AS_THEY_ARE = ("pycparser", "cffi", "cryptography")
MODULES_AS_THEY_ARE = ("numpy/_core/numeric.py", "numpy/_core/fromnumeric.py")
# whether a version of NumPy that nobody has seen works without them
PROOF = "import numpy, numpy.ma, numpy.linalg, numpy.lib.format; import edge_agent.daemon"


def compile_environment(prefix: Path) -> str:
    """Write the .pyc of every module of an environment, which may be moved afterwards; "" or, in words, why its
    docstrings are still there. Raises OSError."""
    folder = prefix / "lib"
    _compile(folder, documented=False)
    command = [str(prefix / "bin" / "python3"), "-I", "-B", "-c", PROOF]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode == 0:
        return ""
    _compile(folder, documented=True)
    return f"modules keep their docstrings, some need them: {(done.stderr.strip().splitlines() or ['?'])[-1]}"


def _compile(folder: Path, *, documented: bool) -> None:
    """What Python cannot compile, such as a module for another version, is left to it."""
    for source in sorted(folder.rglob("*.py")):
        try:
            tree = ast.parse(source.read_bytes())
            if not documented and not _is_read(source.relative_to(folder)):
                _without_docstrings(tree)
            code = compile(tree, str(source), "exec", dont_inherit=True)
        except (SyntaxError, ValueError):
            continue
        target = Path(importlib.util.cache_from_source(str(source), optimization=""))
        target.parent.mkdir(exist_ok=True)
        status = source.stat()
        target.write_bytes(_pyc(code, int(status.st_mtime), status.st_size))


def _is_read(module: Path) -> bool:
    return any(part in AS_THEY_ARE for part in module.parts) or module.as_posix().endswith(MODULES_AS_THEY_ARE)


def _without_docstrings(tree: ast.AST) -> None:
    """An empty one stays, because NumPy wants one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            match node.body:
                case [ast.Expr(value=ast.Constant(value=str())) as documentation, *_]:
                    empty = ast.Expr(ast.copy_location(ast.Constant(""), documentation.value))
                    node.body[0] = ast.copy_location(empty, documentation)


def _pyc(code: CodeType, modified_s: int, size_bytes: int) -> bytes:
    """As `py_compile` writes it, valid while the source has this date and size."""
    numbers = (0, modified_s & 0xFFFFFFFF, size_bytes & 0xFFFFFFFF)
    return importlib.util.MAGIC_NUMBER + b"".join(each.to_bytes(4, "little") for each in numbers) + marshal.dumps(code)


def main() -> None:
    """For the Debian package: compile the environment that the command line names, and say what stays documented."""
    if kept := compile_environment(Path(sys.argv[1])):
        print(kept)
