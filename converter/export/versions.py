"""Finds the oldest runtime version that has every operator of a backbone, from the file itself."""

from __future__ import annotations

import re

from headway.errors import ModelError

# onnxruntime release that first implemented an ONNX opset (onnxruntime.ai, compatibility table)
ONNXRUNTIME_OF_OPSET = {13: "1.6", 14: "1.8", 15: "1.10", 16: "1.11", 17: "1.12", 18: "1.14", 19: "1.15", 20: "1.17",
                        21: "1.18", 22: "1.20", 23: "1.22"}  # fmt: skip
LITERT_FIRST = "1.0.1"


def oldest_runtimes(engine: str, payload: bytes) -> dict[str, str]:
    """Runtime -> oldest version. TFLite's converter records it from the operator versions it used.

    ai-edge-litert starts where TensorFlow 2.16 was; an older requirement is met by its first release.
    """
    if engine == "onnx":
        opset = _onnx_opset(payload)
        return {"onnxruntime": ONNXRUNTIME_OF_OPSET.get(opset, "1.6" if opset < 13 else "1.23")}
    oldest = tflite_minimum(payload)
    litert = LITERT_FIRST if _parts(oldest) <= (2, 16) else "2.0.0"
    return {"ai-edge-litert": litert, "tflite-runtime": oldest}


def operators(payload: bytes) -> dict[str, int]:
    """Builtin operators of a .tflite, name -> highest version; a Flex (TensorFlow) operator keeps its own name."""
    from ai_edge_litert import schema_py_generated as schema

    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
    found: dict[str, int] = {}
    model = schema.Model.GetRootAsModel(payload, 0)
    for index in range(model.OperatorCodesLength()):
        code = model.OperatorCodes(index)
        builtin = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        custom = code.CustomCode()
        name = custom.decode() if custom else names[builtin]
        found[name] = max(found.get(name, 0), code.Version())
    return found


def flex_operators(payload: bytes) -> list[str]:
    """TensorFlow operators a .tflite would need the Flex delegate for."""
    return sorted(name for name in operators(payload) if name.startswith("Flex"))


def tflite_minimum(payload: bytes) -> str:
    """The oldest TFLite release able to run a .tflite, e.g. ``2.3.0``. Raises ModelError when it is not recorded."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAsModel(payload, 0)
    for index in range(model.MetadataLength()):
        entry = model.Metadata(index)
        if entry.Name() == b"min_runtime_version":
            text = model.Buffers(entry.Buffer()).DataAsNumpy().tobytes().rstrip(b"\0").decode("ascii", "replace")
            if re.fullmatch(r"\d+\.\d+(\.\d+)?", text):
                return str(text)
    raise ModelError("the written .tflite does not record its oldest runtime")


def at_least(version: str, oldest: str) -> bool:
    """True when `version` is `oldest` or newer."""
    return _parts(version) >= _parts(oldest)


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _onnx_opset(payload: bytes) -> int:
    import onnx

    model = onnx.load_from_string(payload)
    return max(int(entry.version) for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
