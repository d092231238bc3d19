"""The bundle that a rollout tries in a simulated fleet: as good as the one that serves, worse, or broken."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from aggregator.rollouts import Plan, default_plan
from aggregator.store import DeliveryRow
from edge_agent.pipeline import Pipeline
from edge_agent.trial import InProcess, Shadow, Shadowed, TrialFailed
from headway.arrays import Float32
from headway.bundle import Variant
from headway.errors import StoreError
from headway.maths import Statistics
from headway_simulation.model import IdentityRuntime, Model

PAYLOAD_BYTES = 150_000


class Quality(StrEnum):
    """How the bundle is."""

    EQUAL = "equal"
    ANOTHER_SPACE = "another space"
    MIXED_UP = "mixed up"
    BREAKS = "breaks"


class MixedUpRuntime(IdentityRuntime):
    """A backbone with its weights in other places."""

    def embed(self, inputs: Float32) -> Float32:
        return np.ascontiguousarray(super().embed(inputs)[:, ::-1])


class Breaking:
    """Works for a few windows. Implements `edge_agent.trial.Shadow`."""

    def __init__(self, inner: Shadow, windows: int = 5) -> None:
        self._inner, self._windows = inner, windows

    def ready(self) -> bool:
        return self._inner.ready()

    def features(self, window: Float32) -> Shadowed:
        self._windows -= 1
        if self._windows < 0:
            raise TrialFailed("the process of the new bundle ended with code -11")
        return self._inner.features(window)

    def close(self) -> None:
        self._inner.close()


@dataclass(frozen=True, slots=True)
class TriedBundle:
    """variant: what it is; payload: the bytes that stand for its file; shadow: what runs its backbone."""

    quality: Quality
    variant: Variant
    payload: bytes
    shadow: Callable[[], Shadow]

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.payload).hexdigest()

    @property
    def row(self) -> DeliveryRow:
        """What the aggregator orders."""
        variant = self.variant
        return DeliveryRow(
            "", self.sha256, len(self.payload), variant.name, variant.version, variant.release, variant.space, 0.0
        )

    def read(self, sha256: str, offset: int, length: int) -> bytes:
        """As `aggregator.bundle_sender.Shelf`."""
        if sha256 != self.sha256:
            raise StoreError(f"no bundle {sha256[:16]} here")
        return self.payload[offset : offset + length]


def tried_bundle(model: Model, quality: Quality) -> TriedBundle:
    """Release 2 of the model's bundle."""
    variant = replace(model.variant, release=2, version="2.0.0")
    if quality is Quality.ANOTHER_SPACE:
        features = replace(variant.features, scale=variant.features.scale * np.float32(1.5))
        codes, _ = features.codes(variant.probe_inputs)
        labels = np.arange(len(codes)) % len(model.classes)
        statistics = Statistics.of(codes, labels, model.classes, features.fingerprint("coarser"))
        variant = replace(variant, features=features, training_statistics=statistics)
    runtime = MixedUpRuntime() if quality is Quality.MIXED_UP else IdentityRuntime()
    pipeline = Pipeline(variant, runtime)
    payload = hashlib.sha256(quality.encode()).digest() * (PAYLOAD_BYTES // 32)

    def shadow() -> Shadow:
        inner = InProcess(pipeline)
        return Breaking(inner) if quality is Quality.BREAKS else inner

    return TriedBundle(quality, variant, payload, shadow)


def trial_plan() -> Plan:
    """Everybody tries it; whatever labels say, nothing switches without approval."""
    stage = replace(default_plan().stages[-1], soak_s=0.0, windows_min=8, devices_min=2, approve=True)
    return replace(default_plan(), stages=(stage,))
