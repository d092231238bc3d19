"""What the converter, the edge agent and the aggregator agree on: the maths of the head, the bundle, the wire."""

__version__ = "0.2.0"
