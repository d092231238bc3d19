"""Finds the bundles whose feature spaces the aggregator can serve: those that were delivered, and those it served."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path

from aggregator.heads import FleetModel
from aggregator.operations import SERVED
from headway.bundle import Variant, read_variant
from headway.durable import write_durably
from headway.errors import BundleError, StoreError

LOG = logging.getLogger("headway.aggregator")


class KnownBundles:
    """Implements `aggregator.heads.Bundles` over folders; of several bundles of one space the newest release counts.

    A file is read when it is new. One that cannot be used is named in the log and left out.
    """

    def __init__(self, *folders: Path) -> None:
        self._folders = folders
        self._seen: set[Path] = set()
        # by space: release, codes per sample, file
        self._newest: dict[str, tuple[int, int, Path]] = {}

    def sizes(self) -> Mapping[str, int]:
        for path in sorted({path for folder in self._folders for path in folder.glob("*.hwb")} - self._seen):
            self._seen.add(path)
            try:
                variant = _read(path)
            except BundleError as error:
                LOG.warning("bundle %s is left out, reports of its feature space are refused: %s", path, error)
                continue
            known = self._newest.get(variant.space)
            if known is None or known[0] < variant.release:
                self._newest[variant.space] = variant.release, variant.training_statistics.size, path
        return {space: size for space, (_, size, _) in self._newest.items()}

    def model(self, space: str) -> FleetModel:
        return FleetModel.of(_read(self._newest[space][2]))


def keep_served(bundle: Path, state_dir: Path) -> tuple[str, Path]:
    """Keep a copy of the bundle that is served: devices may go on with it when another has taken its place.

    Returns the sha256 of its bytes and the folder of the copies. Raises StoreError.
    """
    folder = state_dir / SERVED
    try:
        payload = bundle.read_bytes()
        folder.mkdir(parents=True, exist_ok=True)
        sha256 = hashlib.sha256(payload).hexdigest()
        path = folder / f"{sha256}.hwb"
        # written anew where its bytes are damaged
        if not path.exists() or path.read_bytes() != payload:
            write_durably(path, payload)
        path.touch()  # `served_bundle` takes the newest: after a roll-back this one is older than others here
    except OSError as error:
        raise StoreError(f"cannot keep {bundle} in {state_dir}: {error.strerror or error}") from error
    return sha256, folder


def _read(path: Path) -> Variant:
    """A bundle that lies here under the digest of its bytes. Raises BundleError."""
    try:
        intact = hashlib.sha256(path.read_bytes()).hexdigest() == path.stem
    except OSError as error:
        raise BundleError(f"it cannot be read: {error.strerror or error}") from error
    if not intact:
        raise BundleError("its bytes are not those that were put here; deliver it again")
    return read_variant(path)
