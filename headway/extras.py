"""One distribution, several programs: what to say when the packages of one of them are not installed."""

from __future__ import annotations


def missing_extra(error: ModuleNotFoundError, extra: str) -> str:
    """One line that names the extra to install. A module of our own that is missing is a bug: `error` is raised."""
    package = (error.name or "").partition(".")[0]
    if package in ("", "headway", "converter", "aggregator", "edge_agent", "headway_client", "headway_simulation"):
        raise error
    return f"{package} is not installed; pip install 'headway[{extra}]'"
