"""The plugin that configs of tests name."""

from __future__ import annotations

from toy import Noise, NotANumber, Tied, Toy

from msdkit.registry import DATASETS, LOSSES, MODELS, PROCESSORS

DATASETS.register("toy")(Toy)
LOSSES.register("toy_nan")(NotANumber)
MODELS.register("toy_tied")(Tied)
PROCESSORS.register("toy_noise")(Noise)
