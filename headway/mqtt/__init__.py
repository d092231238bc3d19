"""MQTT 5: settings, reason codes, back-off; `transport` is imported by path, because it loads paho and ssl."""

from headway.mqtt.backoff import FullJitter
from headway.mqtt.settings import MqttSettings

__all__ = [
    "FullJitter",
    "MqttSettings",
]
