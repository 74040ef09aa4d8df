"""Probes: how much of what people hear in recordings can be read off a model's vectors by one linear layer.

Run from a checkout, as in ``python -m probes.run mtat ROOT``; they are no part of the installed package.
"""
