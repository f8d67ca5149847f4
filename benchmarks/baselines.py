"""The same work as people write it by hand: plain PyTorch, transformers' own VisualBERT, padding.

Every step takes a list of examples, pads them to the longest and hides padding with attention
masks, except for `plain_msd_step`, which is msdkit's maths in one function: the same student, the
same packed batches, the teacher's answers from a cache.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from workload import CLS, SEP, TEMPERATURE, Drawn, device

from msdkit.types import Batch, View

Padded = dict[str, Tensor]
Step = Callable[[Sequence[Drawn]], float]


def twin(model: Any) -> nn.Module:
    """transformers' VisualBERT with the weights of one of msdkit's."""
    from transformers import VisualBertForVisualReasoning

    config = model.bert.config
    config.num_labels = model.num_classes
    made = VisualBertForVisualReasoning(config)
    names = {"bert": "visual_bert", "head": "cls"}
    state = {}
    for name, value in model.state_dict().items():
        first, rest = name.split(".", 1)
        state[f"{names[first]}.{rest}"] = value.clone()
    made.load_state_dict(state)
    return made.train().to(device())


def padded(examples: Sequence[Drawn]) -> Padded:
    """[CLS] text [SEP] padded to the longest, regions, and both masks, as a collator gives them."""
    texts = [torch.tensor([CLS, *x.words.tolist(), SEP]) for x in examples]
    ids = nn.utils.rnn.pad_sequence(texts, batch_first=True)
    regions = torch.from_numpy(np.stack([x.regions for x in examples]))
    shown = torch.ones(regions.shape[:2], dtype=torch.long)
    batch = {
        "input_ids": ids,
        "attention_mask": (ids != 0).long(),
        "visual_embeds": regions,
        "visual_attention_mask": shown,
        "visual_token_type_ids": torch.zeros_like(shown),
        "labels": torch.tensor([x.label for x in examples]),
    }
    return {name: value.to(device()) for name, value in batch.items()}


def without_image(batch: Padded) -> Padded:
    """The regions hidden by their attention mask."""
    return {**batch, "visual_attention_mask": torch.zeros_like(batch["visual_attention_mask"])}


def without_text(batch: Padded) -> Padded:
    """An empty text, padded as far as the real one was."""
    ids = torch.zeros_like(batch["input_ids"])
    ids[:, 0], ids[:, 1] = CLS, SEP
    return {**batch, "input_ids": ids, "attention_mask": (ids != 0).long()}


def distance(student: Tensor, teacher: Tensor) -> Tensor:
    """[B, C], [B, C] -> [B]: τ² KL(teacher ‖ student)"""
    log_t, log_s = (F.log_softmax(x / TEMPERATURE, -1) for x in (teacher, student))
    return TEMPERATURE**2 * (log_t.exp() * (log_t - log_s)).sum(-1)


def saliencies(teacher: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """{modality: [B]}: tanh KL(full answer ‖ answer without it)"""
    logs = {view: F.log_softmax(logits, -1) for view, logits in teacher.items()}
    full, weights = logs["multimodal"], {}
    for seen, other in (("text", "image"), ("image", "text")):
        removed = (full.exp() * (full - logs[other])).sum(-1)
        weights[seen] = removed.clamp_min(0).tanh()
    return weights


def msd_loss(student: Mapping[str, Tensor], teacher: Mapping[str, Tensor], y: Tensor) -> Tensor:
    """Cross-entropy, and the distance of every view, weighed by saliency."""
    whole = distance(student["multimodal"], teacher["multimodal"])
    loss = F.cross_entropy(student["multimodal"], y) + whole.mean()
    for view, weight in saliencies(teacher).items():
        loss = loss + (weight * distance(student[view], teacher[view])).mean()
    return loss


def updated(loss: Tensor, student: nn.Module, optimizer: Any, schedule: Any) -> float:
    """Backward, clip, step."""
    loss.backward()
    nn.utils.clip_grad_norm_(student.parameters(), 1.0)
    optimizer.step()
    schedule.step()
    optimizer.zero_grad()
    return loss.item()


def supervised_step(student: nn.Module, optimizer: Any, schedule: Any) -> Step:
    """Fine-tuning on labels."""

    def step(examples: Sequence[Drawn]) -> float:
        output = student(**padded(examples))
        return updated(output.loss, student, optimizer, schedule)

    return step


def kd_step(teacher: nn.Module, student: nn.Module, optimizer: Any, schedule: Any) -> Step:
    """Plain distillation with a live teacher: what other frameworks run."""

    def step(examples: Sequence[Drawn]) -> float:
        batch = padded(examples)
        with torch.no_grad():
            answers = teacher(**batch).logits
        output = student(**batch)
        loss = output.loss + distance(output.logits, answers).mean()
        return updated(loss, student, optimizer, schedule)

    return step


def naive_msd_step(teacher: nn.Module, student: nn.Module, optimizer: Any, schedule: Any) -> Step:
    """Modality-specific distillation: teacher and student read every view at full length."""

    def step(examples: Sequence[Drawn]) -> float:
        whole = padded(examples)
        views = {
            "multimodal": whole,
            "text": without_image(whole),
            "image": without_text(whole),
        }
        with torch.no_grad():
            theirs = {name: teacher(**view).logits for name, view in views.items()}
        ours = {name: student(**view).logits for name, view in views.items()}
        loss = msd_loss(ours, theirs, whole["labels"])
        return updated(loss, student, optimizer, schedule)

    return step


def plain_msd_step(
    student: nn.Module, optimizer: Any, schedule: Any, views: list[View]
) -> Callable[[Batch], float]:
    """msdkit's maths in a loop of one's own: its student, its batches, cached answers."""

    def step(batch: Batch) -> float:
        outputs = student(batch.inputs, views)
        logits = {view: output.logits for view, output in outputs.items()}
        loss = msd_loss(logits, batch.teacher_logits, batch.labels)
        return updated(loss, student, optimizer, schedule)

    return step


def optimizer_and_schedule(
    student: nn.Module, lr: float = 1e-3, weight_decay: float = 0.01, steps: int = 10_000
) -> tuple[Any, Any]:
    """Fused AdamW (biases and norms do not decay) and a linear schedule."""
    matrices = [p for p in student.parameters() if p.ndim >= 2]
    rest = [p for p in student.parameters() if p.ndim < 2]
    groups = [{"params": matrices}, {"params": rest, "weight_decay": 0.0}]
    made = torch.optim.AdamW(groups, lr=lr, weight_decay=weight_decay, fused=True)
    return made, torch.optim.lr_scheduler.LambdaLR(made, lambda s: max(0.0, 1 - s / steps))


def copy_bytes(source: np.ndarray, target: np.ndarray) -> None:
    """As many bytes by memcpy."""
    np.copyto(target, source)


class PicklesInLmdb:
    """Features as MMF keeps and reads them: a pickle for each key, padded one by one, stacked."""

    def __init__(self, path: Path, records: Mapping[str, np.ndarray]) -> None:
        import lmdb

        size = 2 * sum(record.nbytes + 4096 for record in records.values())
        self.longest = max(map(len, records.values()))
        with lmdb.open(str(path), map_size=size) as made, made.begin(write=True) as write:
            for key, record in records.items():
                write.put(key.encode(), pickle.dumps({"features": record}))
        self.database = lmdb.open(str(path), readonly=True, lock=False, readahead=False)

    def gather(self, keys: Sequence[str]) -> tuple[Tensor, Tensor]:
        """[B] -> [B, L, D], mask [B, L]"""
        rows, lengths = [], []
        with self.database.begin(buffers=True) as read:
            for key in keys:
                features = pickle.loads(read.get(key.encode()))["features"]
                row = np.zeros((self.longest, features.shape[1]), np.float32)
                row[: len(features)] = features
                rows.append(torch.from_numpy(row))
                lengths.append(len(features))
        return torch.stack(rows), torch.arange(self.longest) < torch.tensor(lengths)[:, None]
