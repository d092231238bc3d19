"""What converter, device and aggregator share: the maths of the head, the bundle format, the messages."""

__version__ = "0.2.0"
