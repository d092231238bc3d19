"""A client of the API of a fleet: `Client` has a method for each of its operations, typed, with the standard library.

    client = Client("https://fleet.example:8885", token)
    for device in client.list_devices(filter="accuracy_gain < 0")["devices"]:
        print(device["device"])

`operations` and `models` are written by ``python -m scripts.api`` from docs/openapi.json.
"""

from headway_client.connection import ApiError, ApiUnreachable
from headway_client.operations import Client

__all__ = ["ApiError", "ApiUnreachable", "Client"]
