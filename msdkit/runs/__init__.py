"""One run: from a config to a folder with results."""

from msdkit.deprecated import old_names

__getattr__ = old_names(__name__)
