"""Processors: from a raw modality to what models read."""
