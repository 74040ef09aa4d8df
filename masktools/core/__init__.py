"""Foundations of all parts: errors, settings, shapes, checks of arguments, devices, gaps."""
