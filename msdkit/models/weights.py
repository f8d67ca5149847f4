"""Weights in folders: read from safetensors alone, and loaded all or nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from msdkit.errors import DataError, MsdkitError

PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt")


def load_weights(model: nn.Module, folder: str | Path) -> None:
    """Load a folder into any model: by its own `load_folder`, or strictly by name and shape."""
    own = getattr(model, "load_folder", None)
    if own is not None:
        own(folder)
    else:
        load_strictly(model, read_weights(folder), str(folder))


def read_weights(folder: str | Path) -> dict[str, Tensor]:
    """The tensors of a folder's `model.safetensors` (or its shards); pickles are refused."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    files = sorted(Path(folder).glob("model*.safetensors"))
    if not files:
        raise DataError(_no_weights(Path(folder)))
    weights: dict[str, Tensor] = {}
    for file in files:
        try:
            weights |= load_file(file)
        except SafetensorError as error:
            raise DataError(f"{file} cannot be read ({error}); copy or write it again") from error
    return weights


def _no_weights(folder: Path) -> str:
    pickled = [path.name for pattern in PICKLED for path in sorted(folder.glob(pattern))]
    if not pickled:
        return f"{folder} holds no weights; accepted: model.safetensors"
    return (
        f"{folder} holds only pickled weights ({', '.join(pickled)}); accepted: model.safetensors. "
        "Convert a file that you trust: state = torch.load(FILE, weights_only=True); "
        "safetensors.torch.save_file({k: v.clone() for k, v in state.items()}, 'model.safetensors')"
    )


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
