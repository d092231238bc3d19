"""Checks that what came from the fleet fits this device's bundle; a RemoteError names what does not."""

from __future__ import annotations

from headway.bundle import Variant
from headway.errors import RemoteError
from headway.maths import Task
from headway.wire import FleetPrior, PublishedHead


def check_head(published: PublishedHead, variant: Variant) -> None:
    """A head must be of the bundle's features and link, and know its classes."""
    what = f"fleet head {published.version}"
    if published.space != variant.space:
        raise RemoteError(f"{what} is of another feature space; same bundle everywhere?")
    if len(published.head.kernel) != variant.features.size or published.head.kind is not variant.task.link:
        raise RemoteError(f"{what} has other features or another link than the bundle")
    missing = [name for name in variant.classes if name not in published.head.classes]
    if missing:
        raise RemoteError(f"{what} lacks the bundle's classes {missing[:5]}")
    if variant.task is not Task.CLASSIFICATION and published.head.classes != variant.classes:
        raise RemoteError(f"{what} has other outputs than the bundle")


def check_prior(prior: FleetPrior, variant: Variant) -> None:
    """Tables must be of the bundle's feature space, and hold something."""
    statistics = prior.statistics
    if (statistics.space, statistics.size) != (variant.space, variant.training_statistics.size):
        raise RemoteError("the fleet's tables are of another feature space; same bundle everywhere?")
    if not statistics.samples:
        raise RemoteError("the fleet's tables hold no sample")
    problem = None if variant.targets is None else variant.targets.inconsistency(statistics)
    if problem is not None:
        raise RemoteError(f"the fleet's tables are refused: {problem}")
