"""Scores, their significance, and what a model costs."""
