"""What a conversion found, for people and for the manifest."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from headway.fields import JsonValue


@dataclass(frozen=True, slots=True)
class Report:
    """Figures of one conversion. Parity is max |difference| over the features' own scale; accuracies are 0..1."""

    bundle: Path
    bundle_bytes: int
    samples: int
    classes: tuple[str, ...]
    head_layer: str
    embedding_size: int
    feature_count: int
    feature_parity: float
    probability_parity: float
    source_accuracy: float
    exact_accuracy: float

    def lines(self) -> list[str]:
        """A short table for the terminal."""
        rows = {
            "bundle": f"{self.bundle} ({self.bundle_bytes:,} bytes)",
            "head": f"layer {self.head_layer!r}, {len(self.classes)} classes, {self.embedding_size}-d embedding",
            "parity": f"features {self.feature_parity:.1e} of their scale, probabilities {self.probability_parity:.1e}",
            "accuracy": f"{self.source_accuracy:.3f} as trained, {self.exact_accuracy:.3f} solved from its statistics "
            f"({self.samples} training windows)",
        }
        return [f"  {name:<9}{text}" for name, text in rows.items()]

    def figures(self) -> dict[str, JsonValue]:
        """The same as JSON, without what differs from run to run."""
        values = asdict(self)
        del values["bundle"], values["bundle_bytes"]
        return {**values, "classes": list(self.classes)}
