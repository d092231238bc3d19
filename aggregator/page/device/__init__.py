"""A device: its three states, how it learns and why, what it was asked, and what people put on it."""

from aggregator.page.device.routes import device_routes

__all__ = ["device_routes"]
