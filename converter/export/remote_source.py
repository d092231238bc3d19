"""A model that is open in the process of the frameworks, so that this one never has to load them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from converter.export.export import Exporter
from converter.sources import HeadWeights, Opening, Source, check_path
from headway.arrays import AnyArray, Float32, Float64
from headway.maths import HeadKind, TimeAxis


@dataclass(frozen=True, slots=True)
class RemoteSource:
    """A `Source` whose questions the exporter's process answers. path, opening: for a new process after a crash."""

    exporter: Exporter
    path: str
    opening: Opening
    name: str
    input_shape: tuple[int, ...]
    weights: HeadWeights
    notes: tuple[str, ...]
    time_axis: TimeAxis | None
    formats: tuple[str, ...]
    ways: tuple[str, ...]

    def answers(self, inputs: Float32) -> tuple[Float32, Float32]:
        _, arrays = self._ask("answers", inputs)
        return arrays["embedding"], arrays["outputs"]

    def exact(self, inputs: Float32) -> tuple[Float64, Float64] | None:
        answer, arrays = self._ask("exact", inputs)
        return (arrays["embedding"], arrays["outputs"]) if answer["possible"] else None

    def forms(self) -> tuple[str, ...]:
        return self.ways

    def save(self, folder: Path, form: str) -> None:
        self.exporter.ask(_request("save", self.path, self.opening, folder=str(folder), form=form))

    def _ask(self, what: str, inputs: Float32) -> tuple[dict[str, Any], dict[str, AnyArray]]:
        return self.exporter.ask_with_arrays(_request(what, self.path, self.opening), inputs)


def open_remotely(path: Path, opening: Opening, exporter: Exporter) -> Source:
    """Open a model's file or folder in the exporter's process. Raises what `open_source` raises."""
    check_path(path)
    answer, arrays = exporter.ask_with_arrays(_request("open", str(path), opening))
    kind, axis = answer["weights"], answer["time_axis"]
    return RemoteSource(
        exporter,
        str(path),
        opening,
        answer["name"],
        tuple(answer["input_shape"]),
        HeadWeights(arrays["kernel"], arrays["bias"], HeadKind(kind["kind"]), kind["layer"], kind["log"]),
        tuple(answer["notes"]),
        None if axis is None else TimeAxis(axis),
        tuple(answer["formats"]),
        tuple(answer["forms"]),
    )


def _request(what: str, path: str, opening: Opening, **more: str) -> dict[str, Any]:
    return {"do": what, "model": path, "opening": asdict(opening), **more}
