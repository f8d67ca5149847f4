"""Weights from files and folders: safetensors, or pickles read safely; loaded all or nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from msdkit import traits
from msdkit.errors import DataError, MsdkitError
from msdkit.models.safe_pickle import read_pickle

# What holds a folder's weights: all files of the first pattern that is there
PATTERNS = ("model*.safetensors", "pytorch_model*.bin", "*.safetensors", "*.pt *.pth *.th *.ckpt")
SHARDED = PATTERNS[:2]
ACCEPTED = "model.safetensors, pytorch_model.bin, or one .safetensors, .pt, .pth, .th or .ckpt"


def load_weights(model: nn.Module, folder: str | Path) -> None:
    """Load a folder into any model: by its own `load_folder`, or strictly by name and shape."""
    if own := traits.load_folder(model):
        own(folder)
    else:
        load_strictly(model, read_weights(folder), str(folder))


def read_weights(place: str | Path) -> dict[str, Tensor]:
    """The tensors of a file, or of a folder's one checkpoint (whose shards are put together)."""
    weights: dict[str, Tensor] = {}
    for file in weight_files(Path(place)):
        weights |= _read_safetensors(file) if file.suffix == ".safetensors" else read_pickle(file)
    return weights


def weight_files(place: Path) -> list[Path]:
    """The file itself, or a folder's checkpoint: safetensors before pickles."""
    if place.is_file():
        return [place]
    for pattern in PATTERNS:
        files = sorted(path for one in pattern.split() for path in place.glob(one))
        if len(files) > 1 and pattern not in SHARDED:
            names = ", ".join(path.name for path in files)
            raise DataError(f"{place} holds several checkpoints ({names}); name one file")
        if files:
            return files
    raise DataError(f"{place} holds no weights; accepted: {ACCEPTED}")


def _read_safetensors(file: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(file)
    except SafetensorError as error:
        raise DataError(f"{file} cannot be read ({error}); copy or write it again") from error


def load_strictly(
    module: nn.Module,
    weights: Mapping[str, Tensor],
    where: str,
    error: type[MsdkitError] = DataError,
    optional: tuple[str, ...] = (),
) -> None:
    """Load all or nothing; the error names every tensor that does not match by name and shape.

    Names that begin with one of `optional` may be missing on either side.
    """
    own = module.state_dict()
    unmatched = sorted(n for n in own.keys() ^ weights.keys() if not n.startswith(optional))
    problems = [f"{n} is {'missing' if n in own else 'not of this model'}" for n in unmatched]
    for name in own.keys() & weights.keys():
        there, here = list(weights[name].shape), list(own[name].shape)
        if there != here:
            problems.append(f"{name} is {there}, the model's is {here}")
    if problems:
        kind = type(module).__name__
        raise error(f"{where} does not fit this {kind}: {'; '.join(sorted(problems))}")
    module.load_state_dict(weights, strict=False)
