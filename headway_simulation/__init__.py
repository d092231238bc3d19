"""Simulates a whole fleet in one process, from one seed: the real agent and aggregator in a simulated world.

Clock, network, disks and power are simulated; the code that decides, and the code that orders the effects, is the one
that runs on devices and servers. This room may import the others; none of them imports it.
"""
