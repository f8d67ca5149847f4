"""The teacher's answers to every view, on disk."""
