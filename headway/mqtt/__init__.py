"""MQTT 5: reason codes, back-off; `settings` and `transport` are imported by path, because they load ssl and paho."""

from headway.mqtt.backoff import FullJitter

__all__ = [
    "FullJitter",
]
