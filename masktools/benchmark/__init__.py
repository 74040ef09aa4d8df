"""Benchmark of the toolkit on this machine: times, arithmetic and memory, beside the roofline of the machine."""
