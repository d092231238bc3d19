"""Finds the bundles whose feature spaces the aggregator can serve: all on its shelf, delivered or served before."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path

from aggregator.heads import FleetModel
from headway.bundle import Variant, read_variant
from headway.errors import BundleError

LOG = logging.getLogger("headway.aggregator")


class KnownBundles:
    """Implements `aggregator.heads.Bundles` over a folder; of several bundles of one space the newest release counts.

    A file is read when it is new. One that cannot be used is named in the log and left out.
    """

    def __init__(self, shelf: Path) -> None:
        self._shelf = shelf
        self._seen: set[Path] = set()
        # by space: release, codes per sample, file
        self._newest: dict[str, tuple[int, int, Path]] = {}

    def sizes(self) -> Mapping[str, int]:
        for path in sorted(set(self._shelf.glob("*.hwb")) - self._seen):
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


def _read(path: Path) -> Variant:
    """A bundle that lies here under the digest of its bytes. Raises BundleError."""
    try:
        intact = hashlib.sha256(path.read_bytes()).hexdigest() == path.stem
    except OSError as error:
        raise BundleError(f"it cannot be read: {error.strerror or error}") from error
    if not intact:
        raise BundleError("its bytes are not those that were put here; deliver it again")
    return read_variant(path)
