"""The demonstration: synthesised recordings, every job on them, and a page with the results."""
