"""Distillation with a live teacher elsewhere: in a Hugging Face Trainer and in torchdistill."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from baselines import Padded, padded
from torch import nn
from torch.utils.data import SequentialSampler
from workload import TEMPERATURE, Drawn, device

Train = Callable[[], list[float]]  # over all examples in their order; the loss of each step


def trainer_class() -> type:
    """A Trainer that distils, as its users write it; `seconds` of its loop, without its start."""
    from transformers import Trainer, TrainerCallback

    class Clock(TrainerCallback):
        def __init__(self, trainer: Any) -> None:
            self.trainer, self.start = trainer, 0.0

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            self.start = time.perf_counter()

        def on_train_end(self, *_: Any, **__: Any) -> None:
            self.trainer.seconds = time.perf_counter() - self.start

    class DistillationTrainer(Trainer):
        def __init__(self, *args: Any, teacher: nn.Module, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.teacher = teacher.to(self.args.device).eval()
            self.losses: list[float] = []
            self.seconds = 0.0
            self.add_callback(Clock(self))

        def compute_loss(
            self, model: nn.Module, inputs: Padded, return_outputs: bool = False, **_: Any
        ) -> Any:
            outputs = model(**inputs)
            with torch.no_grad():
                answers = self.teacher(**inputs).logits
            soft = F.kl_div(
                F.log_softmax(outputs.logits / TEMPERATURE, dim=-1),
                F.softmax(answers / TEMPERATURE, dim=-1),
                reduction="batchmean",
            )
            loss = outputs.loss + TEMPERATURE**2 * soft
            self.losses.append(loss.item())
            return (loss, outputs) if return_outputs else loss

        def _get_train_sampler(self, *_: Any) -> Any:
            return SequentialSampler(self.train_dataset)

    return DistillationTrainer


def huggingface(
    teacher: nn.Module,
    student: nn.Module,
    examples: Sequence[Drawn],
    folder: Path,
    *,
    batch: int,
    lr: float = 1e-3,
    weight_decay: float = 0.01,
    bf16: bool = False,
) -> Any:
    """A Trainer whose `train` goes over all examples once, in their order."""
    from transformers import PrinterCallback, TrainingArguments

    arguments = TrainingArguments(
        str(folder / "huggingface"),
        per_device_train_batch_size=batch,
        num_train_epochs=1,
        learning_rate=lr,
        weight_decay=weight_decay,
        lr_scheduler_type="constant",
        max_grad_norm=1.0,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        bf16=bf16,
        dataloader_pin_memory=False,  # the collator puts batches where they are needed
    )
    made = trainer_class()(
        student, arguments, teacher=teacher, train_dataset=list(examples), data_collator=padded
    )
    made.remove_callback(PrinterCallback)
    return made


class Logits(nn.Module):
    """A model that gives logits alone, which is what torchdistill's losses read."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, **batch: Any) -> Any:
        return self.model(**batch).logits


def _settings(batch: int, collate: Any, lr: float, weight_decay: float) -> dict[str, Any]:
    """torchdistill's config of one stage."""
    loss = {
        "student_module_path": ".",
        "student_module_io": "output",
        "teacher_module_path": ".",
        "teacher_module_io": "output",
        "temperature": TEMPERATURE,
        "alpha": 1.0,
        "beta": 1.0,
    }
    optimizer = {"lr": lr, "weight_decay": weight_decay, "fused": True}
    return {
        "num_epochs": 1,
        "train_data_loader": {
            "dataset_id": "train",
            "sampler": {"class_or_func": SequentialSampler},
            "collate_fn": collate,
            "requires_supp": False,
            "kwargs": {"batch_size": batch},
        },
        "teacher": {"forward_proc": "forward_batch_only_as_kwargs", "requires_grad": False},
        "student": {"forward_proc": "forward_batch_only_as_kwargs"},
        "optimizer": {"key": "AdamW", "kwargs": optimizer, "max_grad_norm": 1.0},
        "criterion": {
            "key": "WeightedSumLoss",
            "kwargs": {
                "sub_terms": {"kd": {"criterion": {"key": "KDLoss", "kwargs": loss}, "weight": 1.0}}
            },
        },
    }


def torchdistill(
    teacher: nn.Module,
    student: nn.Module,
    examples: Sequence[Drawn],
    *,
    batch: int,
    lr: float = 1e-3,
    weight_decay: float = 0.01,
) -> Train:
    """One epoch of torchdistill's DistillationBox."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torchdistill.core.distillation import DistillationBox
        from torchdistill.datasets.registry import register_collate_func

    logging.getLogger("torchdistill").setLevel(logging.WARNING)

    @register_collate_func(key="benchmark")
    def collate(rows: Sequence[Drawn]) -> tuple[Padded, Any, dict]:
        found = padded(rows)
        return found, found.pop("labels"), {}

    settings = _settings(batch, "benchmark", lr, weight_decay)
    data = {"train": list(examples)}
    models = Logits(teacher.eval()), Logits(student)
    box = DistillationBox(*models, data, settings, torch.device(device()), None, False, 1.0)

    def train() -> list[float]:
        losses = []
        box.pre_epoch_process(epoch=0)
        for sample, targets, extra in box.train_data_loader:
            box.pre_forward_process()
            loss = box.forward_process(sample, targets, extra)
            box.post_forward_process(loss)
            losses.append(loss.item())
        return losses

    return train
