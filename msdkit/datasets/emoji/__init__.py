"""Data sets of emoji pictures, built from public packages."""
