"""Benchmark of the toolkit on this machine: times, FLOP and memory, and the roofline of the machine."""
