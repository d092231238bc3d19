"""The ``[engine]`` table of the server's configuration: where heavy work is done."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from headway.settings import choice, integer, text


class EngineKind(StrEnum):
    """Where whole fleets are added up anew and robust rules are computed."""

    LOCAL = "local"
    RAY = "ray"


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """Where heavy work is done."""

    kind: EngineKind = choice(
        EngineKind.LOCAL,
        tuple(EngineKind),
        doc="Where a whole fleet's sums are made anew and robust rules are computed: in this process, or on the nodes "
        "of a Ray cluster (the extra ray), with the same result to the bit. Sums that devices are told "
        "(prior_devices_min above 0, as shipped) are made anew in this process.",
    )
    address: str = text(
        "auto", length_max=256, doc="Of the Ray cluster, host:port or ray://host:port; auto: the one of this machine."
    )
    actors_max: int = integer(
        64, low=1, high=10_000, doc="Most worker processes on the cluster; each takes one of its CPUs."
    )
