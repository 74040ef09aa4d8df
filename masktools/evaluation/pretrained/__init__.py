"""Embedders that others trained: their networks, built anew, and their weights, read from the files they come in."""
