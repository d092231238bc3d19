"""What the installer needs of others, and what it says: self-tests, trials and events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from headway.fields import JsonValue


@dataclass(frozen=True, slots=True)
class Examined:
    """What the self-test of a bundle found. problem: why it failed, or empty. space: its feature space."""

    problem: str = ""
    space: str = ""
    runtime: str = ""
    latency_ms: float = 0.0


class SelfTest(Protocol):
    """A self-test under way."""

    def poll(self) -> Examined | None:
        """The result, None while it runs. Does not wait."""
        ...

    def stop(self) -> None:
        """Give it up."""
        ...


class Trials(Protocol):
    """Tries a bundle beside the one that serves."""

    def begin(self, sha256: str, bundle: Path) -> None:
        """Try this file, which was tested. Raises StoreError when that cannot be now."""
        ...

    def poll(self) -> str:
        """Go on; returns why the bundle failed, or nothing. Does not wait."""
        ...

    def refuse(self, sha256: str, problem: str) -> None:
        """The bundle of this file cannot be tried here."""
        ...

    def end(self) -> None:
        """Nothing is to be tried any more."""
        ...

    def stop(self) -> None:
        """The process ends; the trial goes on after the next start."""
        ...


@dataclass(frozen=True, slots=True)
class DeliveryEvent:
    """An event for people: its name and detail."""

    name: str
    detail: Mapping[str, JsonValue]
