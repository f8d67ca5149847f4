"""The training loop: batches in an order given by (seed, epoch), steps, logs, checkpoints."""

from __future__ import annotations

import math
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from msdkit.checkpoint import (
    load_tree,
    recover_folder,
    replace_folder,
    rng_state,
    save_tree,
    set_rng_state,
)
from msdkit.config import TrainConfig
from msdkit.data import Split
from msdkit.distiller import Distiller
from msdkit.errors import TrainingError
from msdkit.evaluation import Scores
from msdkit.logs import MetricsLog, WeightLog, Window
from msdkit.optimization import accelerator_for, epoch_order, optimizer_for, schedule_for
from msdkit.progress import bar
from msdkit.types import MULTIMODAL, Batch, StepOutput

Save = Callable[[Path], None]


class Stopped(SystemExit):
    """SIGTERM came; everything is saved. The exit code is the shell's: 128 + 15."""

    def __init__(self) -> None:
        super().__init__(143)


class Trainer:
    """Trains a distiller's student; `last/` and `best/` under `folder` are always whole.

    evaluate: gives {view: {metric: value}} on val; metric chooses the best; save_model(folder)
    writes the student for inference; held_out: examples that a weighting's `update` learns from.
    A run killed at any moment continues inside its epoch.
    """

    def __init__(
        self,
        distiller: Distiller,
        train: Split,
        *,
        config: TrainConfig,
        seed: int,
        folder: Path,
        evaluate: Callable[[], Scores],
        save_model: Save,
        metric: str,
        higher_is_better: bool = True,
        accelerator: Any = None,
        held_out: Split | None = None,
        label_names: Sequence[str] = (),
    ) -> None:
        self.distiller, self.train, self.config, self.seed = distiller, train, config, seed
        self.folder, self.evaluate, self.save_model = folder, evaluate, save_model
        self.metric, self.sign = metric, 1.0 if higher_is_better else -1.0
        self.accelerator = accelerator or accelerator_for(config.precision)
        per_epoch = math.ceil(len(train) / config.batch_size)
        self.steps_per_epoch = math.ceil(per_epoch / config.accumulate)
        self.total_steps = config.max_steps or config.epochs * self.steps_per_epoch
        self.every = config.evaluate_every or self.steps_per_epoch
        modules = filter(None, (distiller.student, distiller.losses, distiller.task_loss))
        self.parameters = [p for m in modules for p in m.parameters() if p.requires_grad]
        optimizer = optimizer_for(config, self.parameters)
        self.schedule = schedule_for(config, optimizer, self.total_steps)
        self.model, self.optimizer = self.accelerator.prepare(distiller, optimizer)
        self.log = MetricsLog(folder / "metrics.jsonl")
        self.step, self.best, self.bad = 0, -math.inf, 0
        self.window, self.held_out = Window(), held_out
        self.weight_log = WeightLog(folder / "weights.jsonl", distiller.views, label_names)
        self._stop = False

    def fit(self) -> None:
        """Train to the end, from the last checkpoint if there is one."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.resume()
        self.model.train()
        with self._sigterm(), bar(self.total_steps, "train", "steps", self.step) as advance:
            while self.step < self.total_steps and not self._patience_is_over():
                for batches in self._rest_of_epoch():
                    loss = self.train_step(batches)
                    advance(1, text=f"loss {loss:.3f}" + self._best_text())
                    self._after_step()
                    if self.step >= self.total_steps or self._patience_is_over():
                        break

    def train_step(self, batches: Sequence[Batch]) -> float:
        """One optimizer update over `accumulate` batches; returns the mean loss."""
        count, loss, start = sum(map(len, batches)), 0.0, time.perf_counter()
        self._learn_weights(batches[0])
        for i, batch in enumerate(batches):
            batch = batch.to(self.accelerator.device)
            sync = i == len(batches) - 1
            with nullcontext() if sync else self.accelerator.no_sync(self.model):
                output = self.model(batch, self.step)
                self._check_finite(output, batch)
                share = len(batch) / count
                self.accelerator.backward(output.total * share)
                loss += output.total.item() * share
                self._record(output, batch, share)
        norm = None
        if self.config.clip is not None:
            norm = self.accelerator.clip_grad_norm_(self.parameters, self.config.clip)
            self._check_gradient(norm, batches)
        self.window.add("lr", self.schedule.get_last_lr()[0])
        self.optimizer.step()
        if not self.accelerator.optimizer_step_was_skipped:
            self.schedule.step()
        self.optimizer.zero_grad()
        if norm is not None and norm.isfinite():
            self.window.add("grad_norm", float(norm))
        self.window.count_step(count, time.perf_counter() - start)
        self.step += 1
        return loss

    def _learn_weights(self, batch: Batch) -> None:
        """The bilevel step of a weighting that learns from held-out examples."""
        weighting: Any = self.distiller.weighting
        if self.held_out is None or self.step % getattr(weighting, "interval", 1):
            return
        count, device = min(self.config.batch_size, len(self.held_out)), self.accelerator.device
        rows = epoch_order(len(self.held_out), self.seed, self.step)[:count]
        held_out = self.held_out.__getitems__(rows.tolist())
        self.distiller.step = self.step
        with self.accelerator.autocast():
            weighting.update(self.distiller, batch.to(device), held_out.to(device))

    def _rest_of_epoch(self) -> Iterator[list[Batch]]:
        """The groups of batches of this epoch that are still to come."""
        epoch, done = divmod(self.step, self.steps_per_epoch)
        order = epoch_order(len(self.train), self.seed, epoch).tolist()
        size, group = self.config.batch_size, self.config.accumulate
        batches = [order[i : i + size] for i in range(0, len(order), size)]
        for i in range(done, self.steps_per_epoch):
            part = batches[i * group : (i + 1) * group]
            yield [self.train.__getitems__(indices) for indices in part]

    def _after_step(self) -> None:
        config, step = self.config, self.step
        if step % config.log_every == 0 or step == self.total_steps:
            self.log.write(**self._now("train"), **self.window.means())
        evaluated = step % self.every == 0 or step == self.total_steps
        if evaluated:
            self._evaluate()
        if evaluated or step % config.save_every == 0 or self._stop:
            self.save()
        if self._stop:
            raise Stopped

    def _check_finite(self, output: StepOutput, batch: Batch) -> None:
        if torch.isfinite(output.total):
            return
        bad = ~torch.isfinite(self.distiller.task_weight * output.task)
        bad = bad | ~torch.isfinite(output.weights * output.distill).all(1)
        ids = [batch.ids[i] for i in bad.nonzero().flatten().tolist()]
        terms = {name: values.mean().item() for name, values in output.terms.items()}
        raise TrainingError(
            f"step {self.step + 1}: the loss is {output.total.item()} "
            f"(task {output.task.mean():.4g}, terms {terms}); "
            f"examples: {', '.join(ids[:10]) or 'none alone'}"
            + (f" and {len(ids) - 10} more" if len(ids) > 10 else "")
        )

    def _check_gradient(self, norm: Tensor, batches: Sequence[Batch]) -> None:
        """A gradient may be infinite where the loss is not; a scaler skips such steps itself."""
        if self.accelerator.scaler is None and not norm.isfinite():
            ids = [key for batch in batches for key in batch.ids][:10]
            raise TrainingError(
                f"step {self.step + 1}: the gradient is {norm.item()} at a finite loss; "
                f"among the examples: {', '.join(ids)}"
            )

    def _record(self, output: StepOutput, batch: Batch, share: float) -> None:
        add, views = self.window.add, self.distiller.views
        add("loss", output.total.item() * share)
        add("task", output.task.mean().item() * share)
        for name, values in output.terms.items():
            for view, value in zip(views, values.mean(0).tolist(), strict=True):
                add(f"distill/{name}/{view}", value * share)
        if output.terms:
            for view, value in zip(views, output.weights.mean(0).tolist(), strict=True):
                add(f"weight/{view}", value * share)
            self.weight_log.add(output.weights, batch.labels)

    def _evaluate(self) -> None:
        scores = self.evaluate()
        flat = {f"{v}/{m}": x for v, row in scores.items() for m, x in row.items()}
        self.log.write(**self._now("val"), **flat)
        self.weight_log.write(**self._now("train"))
        value = self.sign * scores[MULTIMODAL][self.metric]
        first = self.best == -math.inf  # then even a metric that is not a number gives a best/
        if first or value > self.best:
            self.best, self.bad = -math.inf if math.isnan(value) else value, 0
            self._save_folder("best", lambda folder: None)
        else:
            self.bad += 1

    def _now(self, split: str) -> dict[str, Any]:
        return {"step": self.step, "epoch": self.step / self.steps_per_epoch, "split": split}

    def _patience_is_over(self) -> bool:
        patience = self.config.early_stopping
        return patience is not None and self.bad >= patience

    def _best_text(self) -> str:
        return (
            f" best {self.metric} {self.sign * self.best:.3f}" if math.isfinite(self.best) else ""
        )

    def save(self) -> None:
        """Write `last/`: the student, and all that is needed to go on."""
        self._save_folder(
            "last", lambda folder: save_tree(folder / "state.safetensors", self.state())
        )

    def _save_folder(self, name: str, more: Save) -> None:
        made = self.folder / f".{name}.partial"
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(parents=True)
        self.save_model(made)
        more(made)
        replace_folder(made, self.folder / name)

    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on."""
        scaler = self.accelerator.scaler
        return {
            "distiller": self.distiller.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "scaler": scaler.state_dict() if scaler is not None else None,
            "rng": rng_state(),
            "step": self.step,
            "best": self.best,
            "bad": self.bad,
            "window": self.window.sums,
            "weights": self.weight_log.sums,
        }

    def resume(self) -> None:
        """Continue from `last/`, if it is there."""
        for name in ("last", "best"):
            recover_folder(self.folder / name)
        path = self.folder / "last" / "state.safetensors"
        if path.exists():
            state = load_tree(path)
            self.distiller.load_state_dict(state["distiller"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.schedule.load_state_dict(state["schedule"])
            if self.accelerator.scaler is not None:
                self.accelerator.scaler.load_state_dict(state["scaler"])
            self.step, self.best, self.bad = state["step"], state["best"], state["bad"]
            self.window.sums, self.weight_log.sums = state["window"], state["weights"]
            set_rng_state(state["rng"])
        self.log.cut(self.step)
        self.weight_log.cut(self.step)

    @contextmanager
    def _sigterm(self) -> Iterator[None]:
        """Finish the step, save and exit when SIGTERM comes."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def ask(*_: Any) -> None:
            self._stop = True

        before = signal.signal(signal.SIGTERM, ask)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)
