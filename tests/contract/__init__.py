"""Both ends of the wire together, in one process: what one writes, the other counts."""
