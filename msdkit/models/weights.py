"""Weights from files and folders: safetensors, or pickles read safely; loaded all or nothing."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor, nn

from msdkit import traits
from msdkit.errors import DataError, MsdkitError
from msdkit.models.safe_pickle import read_pickle
from msdkit.models.wrappers import fitted, parts_of

# What holds a folder's weights: all files of the first pattern that is there
SHARDED = ("model-*-of-*.safetensors", "pytorch_model-*-of-*.bin")
PATTERNS = (
    *("model.safetensors", SHARDED[0], "pytorch_model.bin", SHARDED[1]),
    *("*.safetensors", "*.pt *.pth *.th *.ckpt"),
)
ACCEPTED = "model.safetensors, pytorch_model.bin, or one .safetensors, .pt, .pth, .th or .ckpt"


def load_weights(model: nn.Module, folder: str | Path, labels: Sequence[str] = ()) -> None:
    """Load a folder into any model: by its own `load_folder`, or strictly by name and shape.

    labels: the names of the model's classes, for a `load_folder` that takes them.
    """
    own = traits.load_folder(model)
    if own is None:
        load_whole(model, folder)
    elif "labels" in inspect.signature(own).parameters:
        own(folder, labels=labels)
    else:
        own(folder)


def load_whole(model: nn.Module, place: str | Path, optional: tuple[str, ...] = ()) -> None:
    """Load a file or folder strictly, whatever wraps the model's names there.

    A warning names what lies beside the model (a loss's weights, a teacher); `optional` as in
    `load_strictly`.
    """
    weights, beside = fitted(
        read_weights(place), model.state_dict(), place, lambda name: name.startswith(optional)
    )
    load_strictly(model, weights, str(place), optional=optional)
    if beside:
        warnings.warn(f"{place}: beside the model, not used: {parts_of(beside)}", stacklevel=3)


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
            return _all_shards(files) if pattern in SHARDED else files
    raise DataError(f"{place} holds no weights; accepted: {ACCEPTED}")


def _all_shards(files: list[Path]) -> list[Path]:
    """The files, model-00001-of-00003.safetensors and so on; DataError unless all are there."""
    number = files[0].stem.rpartition("-")[2]
    if number.isdigit() and len(files) != int(number):
        names = ", ".join(path.name for path in files)
        raise DataError(f"{files[0].parent} holds {names}; expected all {int(number)} parts")
    return files


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
