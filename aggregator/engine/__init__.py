"""Where heavy work is done: in this process, or on a cluster, with the same bits."""

from aggregator.engine.engine import Engine, LocalEngine, Recount
from aggregator.engine.robust import krum, median, trimmed_mean

__all__ = ["Engine", "LocalEngine", "Recount", "krum", "median", "trimmed_mean"]
