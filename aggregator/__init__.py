"""Aggregates what the devices of a fleet learned into a better head, and keeps track of the devices.

One rule for its names: the part is the *aggregator*, in prose and in everything only it has (this package,
aggregator.toml, the logger headway.aggregator, the topic level ``_aggregator``). People call it through the program
``edge-fleet``, a sister of ``edge-convert`` and ``edge-agent``, which also lists devices and delivers bundles. systemd
runs ``edge-fleet serve`` as headway-aggregator.service: units of all projects share one list, so it names ours first.
"""
