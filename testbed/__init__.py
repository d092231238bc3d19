"""Local servers for the demo, the tests and the benchmarks. Not part of the distribution."""
