"""Distillation and task losses; each returns one value per example."""
