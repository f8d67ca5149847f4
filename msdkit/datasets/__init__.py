"""Data sets: raw examples with one entry per modality."""
