"""The server of a fleet: combines what devices learned, publishes a better head, knows the devices."""
