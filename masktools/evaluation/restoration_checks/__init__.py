"""The checks of restoration that need recordings: each gives a report with its figures."""
