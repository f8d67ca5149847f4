"""Memory-mapped feature stores."""
