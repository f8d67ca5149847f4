"""How a hidden modality is removed from a model's input: the maskings drop, zero, mean, ….

B batch, L tokens or regions of the modality, H hidden width.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from msdkit import parallel
from msdkit.errors import ConfigError
from msdkit.registry import MASKINGS

__all__ = ["Drop", "Embedded", "MaskToken", "Masking", "Mean", "Shuffle", "Zero"]

Embedded = tuple[Tensor, Tensor]  # embeddings [B, L, H] and mask bool [B, L]


class Masking(nn.Module):
    """What stands in for the embeddings of a hidden modality; one instance serves one model.

    It replaces the content embeddings: positions are added after it, special tokens never pass
    through it. deterministic: equal inputs give equal outputs, as the teacher cache requires;
    reads: needs the hidden modality's embeddings; one that does not is never asked, as the hidden
    tokens do not exist; observes: gathers statistics of visible ones; needs: what the model must
    provide; batch_coupled: an example's output depends on its batch; hides_alone: it can hide from
    a batch of one example, as modality dropout asks.

    seed: of what a random one draws for each modality, from torch's global generator: a distiller
    gives teacher and student the same in each step. None goes on with the generator.
    """

    deterministic: ClassVar[bool] = True
    reads: ClassVar[bool] = True
    observes: ClassVar[bool] = False
    needs: ClassVar[set[str]] = set()
    batch_coupled: ClassVar[bool] = False
    hides_alone: ClassVar[bool] = True
    seed: int | None = None

    def __call__(self, *given: Any, **named: Any) -> Any:
        """As `forward`, with the draws of the step."""
        if self.deterministic:
            return super().__call__(*given, **named)
        if torch.compiler.is_compiling():  # a seed is new at each step
            from msdkit.models.eager import eagerly

            return eagerly(partial(self._drawn, *given, **named))
        return self._drawn(*given, **named)

    def _drawn(
        self, embeddings: Tensor, mask: Tensor, modality: str, token: Tensor | None = None
    ) -> Any:
        if self.seed is None:
            return super().__call__(embeddings, mask, modality, token)
        devices = [embeddings.device] if embeddings.is_cuda else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(self.seed + zlib.crc32(modality.encode()))
            return super().__call__(embeddings, mask, modality, token)

    def setup(self, modalities: Iterable[str], width: int) -> None:
        """Called once by the model that owns the masking, with the width H of its embeddings."""

    def reset(self) -> None:
        """Forget what was observed."""

    def observe(self, embeddings: Tensor, mask: Tensor, modality: str, exact: bool = False) -> None:
        """Called for every modality embedded in training, and, `exact`, by `model.fit_masking`."""

    def forward(
        self, embeddings: Tensor, mask: Tensor, modality: str, token: Tensor | None = None
    ) -> Embedded | None:
        """[B, L, H], [B, L], name, [H] -> ([B, L, H], [B, L]), or None: the tokens do not exist"""
        raise NotImplementedError(f"{type(self).__name__} defines no forward")


@MASKINGS.register("drop")
class Drop(Masking):
    """The hidden modality's tokens do not exist; they are not even embedded."""

    reads = False

    def forward(
        self, embeddings: Tensor, mask: Tensor, modality: str, token: Tensor | None = None
    ) -> Embedded | None:
        """[B, L, H], [B, L] -> None"""
        return None


@MASKINGS.register("zero")
class Zero(Masking):
    """The embeddings are zero; length and padding still show."""

    def forward(
        self, embeddings: Tensor, mask: Tensor, modality: str, token: Tensor | None = None
    ) -> Embedded | None:
        """[B, L, H], [B, L] -> ([B, L, H], [B, L])"""
        return torch.zeros_like(embeddings), mask


@MASKINGS.register("mask_token")
class MaskToken(Masking):
    """Every embedding is that of the model's mask token; length and padding still show."""

    needs: ClassVar[set[str]] = {"mask_token"}

    def forward(
        self, embeddings: Tensor, mask: Tensor, modality: str, token: Tensor | None = None
    ) -> Embedded | None:
        """[B, L, H], [B, L], name, [H] -> ([B, L, H], [B, L])"""
        if token is None:
            raise ConfigError(
                f"masking 'mask_token': the model has no mask token for modality '{modality}'; "
                "choose drop, zero, mean or shuffle"
            )
        return token.to(embeddings.dtype).expand_as(embeddings), mask


@MASKINGS.register("shuffle")
class Shuffle(Masking):
    """Another example's embeddings and padding (never one's own): a random cycle over the batch.

    Drawn anew at every step, so a teacher cache refuses it. In a step every row has one partner for
    each modality, the same in all views, in the teacher and in the student. Of several processes
    each draws within its own batch.
    """

    deterministic = False
    batch_coupled = True
    hides_alone = False

    def forward(
        self, embeddings: Tensor, mask: Tensor, modality: str, token: Tensor | None = None
    ) -> Embedded | None:
        """[B, L, H], [B, L] -> ([B, L, H], [B, L])"""
        if len(mask) < 2:
            raise ConfigError(
                f"masking 'shuffle' got a batch of {len(mask)} for modality '{modality}'; "
                "it needs another example: at least 2 (does the last batch hold one example?)"
            )
        order = torch.randperm(len(mask)).to(mask.device)
        other = torch.empty_like(order)
        other[order] = order.roll(1)
        return embeddings[other], mask[other]


@MASKINGS.register("mean")
class Mean(Masking):
    """The mean embedding of the modality over the training set's real positions.

    In training a running mean is kept: μ ← μ + max(n/N, 1 − momentum) (μ_batch − μ), with n the
    batch's positions and N all so far; that is the exact mean at first and an exponential one
    later. A frozen model gets the exact mean from `model.fit_masking`. Part of the state_dict.
    Processes that train together observe one another's batches as one.
    """

    observes = True
    means: Tensor
    counts: Tensor

    def __init__(self, *, momentum: float = 0.99) -> None:
        super().__init__()
        if not 0 <= momentum <= 1:
            raise ConfigError(f"masking 'mean': momentum is {momentum}; accepted: 0 to 1")
        self.momentum = momentum
        self.rows: dict[str, int] = {}

    def setup(self, modalities: Iterable[str], width: int) -> None:
        if self.rows:
            raise ConfigError("masking 'mean' already serves a model; build one for each model")
        self.rows = {modality: row for row, modality in enumerate(modalities)}
        self.register_buffer("means", torch.zeros(len(self.rows), width))
        self.register_buffer("counts", torch.zeros(len(self.rows), dtype=torch.long))

    def reset(self) -> None:
        self.means.zero_()
        self.counts.zero_()

    @torch.no_grad()
    def observe(self, embeddings: Tensor, mask: Tensor, modality: str, exact: bool = False) -> None:
        # Detached, since no_grad alone does not stop forward-mode derivatives
        mean, count = self.means[self.rows[modality]], self.counts[self.rows[modality]]
        values, new = embeddings.detach().to(mean.dtype), mask.sum()
        sums = torch.where(mask[..., None], values, 0).sum((0, 1))
        if not exact:  # an exact pass goes over all examples in each process
            sums, new = parallel.total(sums), parallel.total(new)
        count += new
        share = new / count.clamp(min=1)
        if not exact:
            share = share.clamp(min=1 - self.momentum)
        mean += torch.where(new > 0, share, 0) * (sums / new.clamp(min=1) - mean)

    def forward(
        self, embeddings: Tensor, mask: Tensor, modality: str, token: Tensor | None = None
    ) -> Embedded | None:
        """[B, L, H], [B, L], name -> ([B, L, H], [B, L])"""
        row = self.rows[modality]
        if not self.counts[row]:
            raise ConfigError(
                f"masking 'mean' has no mean of modality '{modality}' yet; train the model, load "
                "one that was trained with this masking, or call model.fit_masking(batches)"
            )
        return self.means[row].to(embeddings.dtype, copy=True).expand_as(embeddings), mask
