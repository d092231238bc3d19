"""The API of a fleet over HTTP: a process of its own, which reads the store and acts by rows that the service sees."""

from aggregator.api.application import Api, api_of, clean_up, create_app
from aggregator.api.bounds import MINUTE_S, Bounds, Headers
from aggregator.api.callers import Doorkeeper
from aggregator.api.desk import Desk
from aggregator.api.problems import STATUS, Refusal
from aggregator.api.stores import Stores

__all__ = [
    "MINUTE_S",
    "STATUS",
    "Api",
    "Bounds",
    "Desk",
    "Doorkeeper",
    "Headers",
    "Refusal",
    "Stores",
    "api_of",
    "clean_up",
    "create_app",
]
