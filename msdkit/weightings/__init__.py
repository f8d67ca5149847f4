"""Weightings: how much each view counts, for each example."""
