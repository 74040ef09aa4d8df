"""Evaluation: which clips, what is done to them, how it is measured, and the report of it all."""
