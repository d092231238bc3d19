"""What is measured about one device of the demo."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Result:
    """One device's figures. Accuracies 0..1 on its later windows; `after` by labels per class."""

    name: str
    frozen: float = float("nan")
    after: dict[int, float] = field(default_factory=dict)
    fleet: float = float("nan")
    bytes_sent: int = 0
    serving: str = ""
