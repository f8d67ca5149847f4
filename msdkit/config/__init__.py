"""YAML to one checked config."""
