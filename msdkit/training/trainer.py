"""The training loop: steps, logs, evaluations, checkpoints."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from msdkit import parallel, traits
from msdkit.config.schema import TrainConfig
from msdkit.data.loader import Batches, Part, epoch_order
from msdkit.data.split import Split
from msdkit.distillation.distiller import Distiller
from msdkit.evaluation.scores import Scores
from msdkit.failures import memory
from msdkit.parallel import from_main
from msdkit.progress import bar, console
from msdkit.training.checkpoint import TrainingState, batches_per_step
from msdkit.training.engine import (
    Compilation,
    accelerator_for,
    calls_of,
    optimizer_for,
    schedule_for,
    tracked,
    trained,
)
from msdkit.training.logs import MetricsLog, Places, RunningMeans, WeightLog
from msdkit.training.processes import (
    FullOptimizerState,
    FullState,
    Step,
    check_processes,
    gathered,
    settle,
    shared_out,
    start_line,
)
from msdkit.training.seeding import set_rng_state, undisturbed
from msdkit.training.stopping import StopSignal
from msdkit.training.watch import FiniteCheck
from msdkit.types import MULTIMODAL

OnEvaluate = Callable[[int, float], None]


class Trainer:
    """Trains a distiller's student; `last/` and `best/` under `folder` are always whole.

    evaluate: gives {view: {metric: value}} on val; metric chooses the best; save_model(folder)
    writes the student for inference; held_out: examples that a weighting's `update` learns from;
    about: what a tracker is told of the run; on_evaluate(step, the metric's value) is called after
    each evaluation, in all processes, and may end the training by an exception.
    A run killed at any moment continues inside its epoch. Between two lines of the log nothing
    waits for an accelerator: losses and norms are summed there.
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
        save_model: Callable[[Path], None],
        metric: str,
        higher_is_better: bool = True,
        accelerator: Any = None,
        held_out: Split | None = None,
        label_names: Sequence[str] = (),
        about: Mapping[str, Any] | None = None,
        on_evaluate: OnEvaluate | None = None,
    ) -> None:
        self.accelerator = accelerator or accelerator_for(config, folder)
        check_processes(self.accelerator, distiller, held_out)
        config = shared_out(config, from_main(partial(batches_per_step, folder)))
        self.distiller, self.config, self.seed = distiller, config, seed
        self.folder, self.evaluate, self.held_out = folder, evaluate, held_out
        self.metric, self.sign = metric, 1.0 if higher_is_better else -1.0
        device, rank, world = self.accelerator.device, parallel.rank(), parallel.world()
        self.batches = Batches(train, config, seed, rank=rank, world=world, device=device)
        steps = config.max_steps or config.epochs * self.batches.steps_per_epoch
        self.total_steps = max(1, round(steps * config.lengthen))
        self.every = config.evaluate_every or self.batches.steps_per_epoch
        self.compilation = Compilation(distiller.student) if config.compile else None
        optimizer = optimizer_for(config, trained(distiller))
        self.schedule = schedule_for(config, optimizer, self.total_steps)
        with warnings.catch_warnings():  # torch's advice on buffers is for a later accelerate
            warnings.filterwarnings("ignore", ".*broadcast_buffers", FutureWarning)
            self.model, prepared = self.accelerator.prepare(Step(distiller), optimizer)
        self.calls, self.parameters = calls_of(self.accelerator, prepared), trained(distiller)
        self.optimizer = self.calls.optimizer
        self.log = MetricsLog(folder / "metrics.jsonl", self.accelerator.log)
        self.weight_log = WeightLog(folder / "weights.jsonl", distiller.views, label_names)
        self.window, self.watch = RunningMeans(distiller.views), FiniteCheck(device)
        self.anywhere = parallel.anywhere if world > 1 else bool
        self.step, self.best, self.bad = 0, -math.inf, 0
        self.saved = TrainingState(folder, save_model, self._parts())
        self.stop, self._since = StopSignal(), 0.0
        self.about, self.on_evaluate = about or {}, on_evaluate

    def _parts(self) -> dict[str, Any]:
        """Everything that the next step depends on, beside random numbers."""
        scaler = self.accelerator.scaler
        return {
            "distiller": FullState(self.distiller),
            "optimizer": FullOptimizerState(self.optimizer),
            "schedule": self.schedule,
            **({} if scaler is None else {"scaler": scaler}),
            "window": self.window,
            "weights": self.weight_log,
            "logs": Places(self.log, self.weight_log),
            "trainer": self,
        }

    def state_dict(self) -> dict[str, Any]:
        """How far the training has come, and of how many batches its steps are made."""
        batches = self.config.accumulate * self.batches.world
        return {"step": self.step, "best": self.best, "bad": self.bad, "batches": batches}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.step, self.best, self.bad = state["step"], state["best"], state["bad"]

    def fit(self) -> None:
        """Train to the end, from the last checkpoint if there is one."""
        from_main(partial(self.folder.mkdir, parents=True, exist_ok=True))
        random_state = self.saved.restore()
        self.log.cut(self.step)
        self.weight_log.cut(self.step)
        if self.step or parallel.world() > 1:
            console().print(start_line(self.config, self.step, self.total_steps))
        self.model.train()
        self._since, text = time.perf_counter(), ""
        with (
            self.stop,
            tracked(self.accelerator, self.about, self.folder, self.step),
            bar(self.total_steps, "train", "steps", self.step) as advance,
            closing(self.batches.after(self.step)) as steps,
            memory("training", self._less()),
        ):
            set_rng_state(random_state)
            while self.step < self.total_steps and not self._patience_is_over():
                loss = self.train_step(next(steps))
                if self._after_step():
                    text = f"loss {loss:.3f}" + self._best_text()
                advance(1, text=text)
            if self.anywhere(self.stop.asked):  # since the last look; all is saved
                raise self.stop.stopped()

    def _less(self) -> str:
        """What takes less memory."""
        size, steps = self.config.batch_size, self.config.accumulate
        return (
            f"lower train.batch_size (now {size}), and raise train.accumulate (now {steps}) by as "
            "much to keep the examples of a step"
        )

    def train_step(self, parts: Sequence[Part]) -> Tensor:
        """One optimizer update over `accumulate` micro-batches; its mean loss, on the device."""
        self._learn_weights(parts[0])
        losses = [self._add_gradient(part, part is parts[-1]) for part in parts]
        scaler, about = self.accelerator.scaler, {}
        if self.config.clip is not None:
            norm = self.calls.clip(self.parameters, self.config.clip)
            if scaler is None:  # a scaler skips such steps itself
                ids = [key for part in parts for key in part.batch.ids]
                self.watch.gradient(self.step + 1, norm, ids)
            about["grad_norm"] = norm.nan_to_num(0.0, posinf=0.0)
        self.window.add({**about, "lr": self.optimizer.param_groups[0]["lr"], "steps": 1.0})
        self.optimizer.step()
        if scaler is None or not self.accelerator.optimizer_step_was_skipped:
            self.schedule.step()
        self.optimizer.zero_grad()
        self.step += 1
        return torch.stack(losses).sum()

    def _add_gradient(self, part: Part, last: bool) -> Tensor:
        """Forward and backward over a micro-batch; its share of the step's mean loss."""
        batch, share, device = part.batch, part.share, self.accelerator.device
        if device.type != "cpu":
            batch = batch.to(device)
        with (
            nullcontext() if last else self.accelerator.no_sync(self.model),
            nullcontext() if share else parallel.idle(),
        ):
            with self.calls.autocast():  # which FSDP leaves to us
                total, output = self.model(batch, self.step)
            self.watch.loss(self.step + 1, output, self.distiller.task_weight, batch.ids)
            # Processes average their gradients, and shares are of the examples of all processes
            self.calls.backward(total * (share * self.batches.world))
        if share:
            self.window.record(output, len(batch.ids), share)
            if output.terms:
                self.weight_log.add(output.weights, batch.labels)
        return output.total * share

    def _learn_weights(self, part: Part) -> None:
        """The bilevel step of a weighting that learns from held-out examples."""
        weighting: Any = self.distiller.weighting
        if self.held_out is None or self.step % traits.interval(weighting):
            return
        rows = epoch_order(len(self.held_out), self.seed, self.step)[: self.batches.size]
        mine = rows.tensor_split(self.batches.world)[self.batches.rank]
        batches = part.batch, self.held_out.__getitems__(mine.tolist())
        self.distiller.step = self.step
        with self.calls.autocast(), parallel.idle(not part.share):
            weighting.update(self.distiller, *(b.to(self.accelerator.device) for b in batches))

    def _after_step(self) -> bool:
        """Log, evaluate and save what is due; whether all steps so far are known to be right."""
        step, config = self.step, self.config
        evaluates = step % self.every == 0 or step == self.total_steps
        logs = step % config.log_every == 0 or step == self.total_steps
        stops = self.anywhere(self.stop.asked)
        saves = evaluates or step % config.save_every == 0 or stops
        if not (logs or saves):
            return self.watch.at_once
        with undisturbed():
            self._report(logs=logs, evaluates=evaluates, saves=saves)
        if saves:
            with undisturbed():
                self.saved.save_last()
        if stops:
            raise self.stop.stopped()
        self._since = time.perf_counter()  # what was just done is no part of training's speed
        return True

    def _report(self, *, logs: bool, evaluates: bool, saves: bool) -> None:
        self.watch.look()
        self.window.add({"seconds": time.perf_counter() - self._since})
        self.window.gather()
        self.weight_log.gather()
        if logs and parallel.is_main():
            self.log.write(**self._now("train"), **self.window.means())
            self._tell_compilation()
        if saves:
            settle(self.distiller.student)
        if evaluates:
            self._evaluate()

    def _tell_compilation(self) -> None:
        if self.compilation is not None and (seconds := round(self.compilation.seconds(), 1)):
            console().print(f"step {self.step}: compiling the student has taken {seconds} s")
            self.log.write(**self._now("compile"), seconds=seconds)

    def _evaluate(self) -> None:
        with gathered(self.model):
            scores = self.evaluate()
        flat = {f"{v}/{m}": x for v, row in scores.items() for m, x in row.items()}
        self.log.write(**self._now("val"), **flat)
        self.weight_log.write(**self._now("train"))
        value = self.sign * scores[MULTIMODAL][self.metric]
        first = self.best == -math.inf  # then even a metric that is not a number gives a best/
        if first or value > self.best:
            self.best, self.bad = -math.inf if math.isnan(value) else value, 0
            self.saved.save_best()
        else:
            self.bad += 1
        if self.on_evaluate is not None:
            self.on_evaluate(self.step, scores[MULTIMODAL][self.metric])

    def _now(self, split: str) -> dict[str, Any]:
        epoch = self.step / self.batches.steps_per_epoch
        return {"step": self.step, "epoch": epoch, "split": split}

    def _patience_is_over(self) -> bool:
        patience = self.config.early_stopping
        return patience is not None and self.bad >= patience

    def _best_text(self) -> str:
        best = self.sign * self.best
        return f" best {self.metric} {best:.3f}" if math.isfinite(best) else ""
