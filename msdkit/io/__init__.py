"""This machine's disk: whole files, locks, the cache, arrays and strings that stay there."""
