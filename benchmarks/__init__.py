"""Every published figure: one file each, with its peer in the same run. ``python -m benchmarks.NAME`` measures it."""
