"""A device in Home Assistant: announced by MQTT discovery, its state, and labels from there."""

from edge_agent.home_assistant.home_assistant import HomeAssistant
from edge_agent.home_assistant.leaving import leave

__all__ = ["HomeAssistant", "leave"]
