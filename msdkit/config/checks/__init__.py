"""Whether the parts of a config fit one another."""
