"""Ingest workers: processes that take reports in beside each other, on one PostgreSQL database."""

from aggregator.workers.service import WorkerService
from aggregator.workers.worker import Worker

__all__ = ["Worker", "WorkerService"]
