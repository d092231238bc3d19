"""Rollouts: their stages with what labels say, what an operator may do, and beginning one after a dry run."""

from aggregator.page.rollouts.routes import rollouts_routes

__all__ = ["rollouts_routes"]
