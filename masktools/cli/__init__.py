"""The command line: each command reads its options, calls the model once, and writes the results."""
