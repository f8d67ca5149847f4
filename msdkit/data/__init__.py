"""From raw examples to batches."""
