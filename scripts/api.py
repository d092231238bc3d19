"""Writes docs/openapi.json from the API as it is declared, and the typed client of it, headway_client.

    python -m scripts.api [--check]

--check writes nothing, and fails while one of the files says something else.
"""

from __future__ import annotations

import argparse
import json
import keyword
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from aggregator.api.application import create_app
from aggregator.config import Settings
from aggregator.store import MemoryStore
from headway.ports import SystemClock

ROOT = Path(__file__).resolve().parent.parent
DESCRIPTION = ROOT / "docs" / "openapi.json"
MODELS = ROOT / "headway_client" / "models.py"
OPERATIONS = ROOT / "headway_client" / "operations.py"
PLAIN = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}
ACTS = ("post", "put", "patch", "delete")
Schema = Mapping[str, Any]


def described() -> dict[str, Any]:
    """The OpenAPI document of the API."""
    settings = Settings("fleet", Path("model.hwb"), Path("."))
    return create_app(settings, MemoryStore, SystemClock()).openapi()


def type_of(schema: Schema, prefix: str = "") -> str:
    """The Python type of a value. prefix: before the names of models."""
    match schema:
        case {"$ref": str(reference)}:
            return prefix + reference.rpartition("/")[2]
        case {"anyOf": choices}:
            return " | ".join(type_of(choice, prefix) for choice in choices)
        case {"enum": values}:
            return f"Literal[{', '.join(json.dumps(value) for value in values)}]"
        case {"type": "array", "items": items}:
            return f"list[{type_of(items, prefix)}]"
        case {"type": "object", "additionalProperties": dict() as values}:
            return f"dict[str, {type_of(values, prefix)}]"
        case {"type": "object"}:
            return "dict[str, Any]"
        case {"type": str(kind)}:
            return PLAIN[kind]
    return "Any"


def models(document: Schema) -> Iterator[str]:
    """The module of what is sent and answered."""
    yield '"""What the API is sent and answers. Written by python -m scripts.api; do not edit."""\n'
    yield "from __future__ import annotations\n"
    yield "from typing import Any, Literal, NotRequired, TypedDict\n"
    for name, schema in sorted(document["components"]["schemas"].items()):
        if "properties" not in schema:
            yield f"\n{name} = {type_of(schema)}"
            continue
        yield f"\nclass {name}(TypedDict):"
        said = schema.get("description", name).partition("\n\n")[0]
        yield f'    """{" ".join(said.split())}"""\n'
        required = schema.get("required", ())
        for key, value in schema["properties"].items():
            kind = type_of(value)
            yield f"    {key}: {kind if key in required else f'NotRequired[{kind}]'}"


def operations(document: Schema) -> Iterator[str]:
    """The module of the client."""
    yield '"""A method for each operation of the API. Written by python -m scripts.api; do not edit."""\n'
    yield "from __future__ import annotations\n"
    yield "from typing import BinaryIO, cast\n"
    yield "import headway_client.models as models"
    yield "from headway_client.connection import Connection, segment\n\n"
    yield "class Client(Connection):"
    yield '    """Everything that can be asked of a fleet; every method raises ApiError and ApiUnreachable.\n'
    yield "    key: of an act that must be done once, however often it is sent: any text of up to 255 characters."
    yield '    """'
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if operation["operationId"] != "login":
                yield from _method(path, method, operation)


def _method(path: str, method: str, operation: Schema) -> Iterator[str]:
    found = operation.get("parameters", [])
    parts = [each["name"] for each in found if each["in"] == "path"]
    queries = [each for each in found if each["in"] == "query"]
    arguments = [f"{_name(name)}: str" for name in parts]
    asked = {"method": json.dumps(method.upper()), "path": json.dumps(path)}
    if parts:
        filled = path
        for name in parts:
            filled = filled.replace(f"{{{name}}}", f"{{segment({_name(name)})}}")
        asked["path"] = f"f{json.dumps(filled)}"
    content = operation.get("requestBody", {}).get("content", {})
    if content:
        ((media, described),) = content.items()
        arguments.append(f"body: {'bytes' if media != 'application/json' else type_of(described['schema'], 'models.')}")
        asked["body"] = "body"
    if queries or method in ACTS:
        arguments.append("*")
    arguments += [f"{_name(q['name'])}: {type_of(q['schema'], 'models.')} | None = None" for q in queries]
    if queries:
        asked["query"] = "{" + ", ".join(f"{json.dumps(q['name'])}: {_name(q['name'])}" for q in queries) + "}"
    if method in ACTS:
        arguments.append('key: str = ""')
        asked["headers"] = '{"Idempotency-Key": key} if key else None'
    answer = next(response for status, response in operation["responses"].items() if status.startswith("2"))
    if any(schema.get("schema", {}).get("format") == "binary" for schema in answer.get("content", {}).values()):
        # a file, which may be larger than the memory
        yield f"\n    def {operation['operationId']}(self, to: BinaryIO) -> int:"
        yield f'        """{operation["description"]} Returns how many bytes were written."""'
        yield f"        return self.download({asked['method']}, {asked['path']}, to)"
        return
    schema = answer.get("content", {}).get("application/json", {}).get("schema")
    returned = "None" if schema is None else type_of(schema, "models.")
    yield f"\n    def {operation['operationId']}({', '.join(['self', *arguments])}) -> {returned}:"
    yield f'        """{operation["description"]}"""'
    call = f"self.ask({', '.join(f'{name}={value}' for name, value in asked.items())})"
    yield f"        {call}" if schema is None else f'        return cast("{returned}", {call})'


def _name(word: str) -> str:
    return f"{word}_" if keyword.iskeyword(word) else word


def formatted(lines: Iterator[str], file: Path) -> str:
    """As `make check` wants it."""
    text = "\n".join(lines)
    for command in (("check", "--fix", "--exit-zero", "--quiet"), ("format",)):
        ruff = [sys.executable, "-m", "ruff", *command, "--stdin-filename", str(file), "-"]
        text = subprocess.run(ruff, input=text, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    return text


def written() -> dict[Path, str]:
    """What each file should say."""
    document = described()
    return {
        DESCRIPTION: json.dumps(document, indent=1, ensure_ascii=False) + "\n",
        MODELS: formatted(models(document), MODELS),
        OPERATIONS: formatted(operations(document), OPERATIONS),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="only say which files are out of date")
    check = parser.parse_args().check
    stale = {file: text for file, text in written().items() if not file.exists() or file.read_text() != text}
    for file, text in stale.items():
        print(f"{file.relative_to(ROOT)}{' is out of date; python -m scripts.api' if check else ''}")
        if not check:
            file.write_text(text)
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
