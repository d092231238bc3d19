"""The device's program: runs the backbone, keeps the head learning, and never needs the network to do so."""
