"""Evaluation: choice of clips, protocols, measures, and reports."""
