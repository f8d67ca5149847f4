"""The typed schema of experiment configs."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Annotated, Any, Literal

from annotated_types import Ge, Lt

from msdkit.builtin import DEFAULT_MASKING
from msdkit.config.space import SPACE
from msdkit.config.teachers import combines, members
from msdkit.registry import (
    DATASETS,
    LOSSES,
    MASKINGS,
    METRICS,
    MODELS,
    PROCESSORS,
    WEIGHTINGS,
    Registry,
)
from msdkit.signatures import Problem, config_parameters
from msdkit.types import Fraction, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

Node = dict[str, Any]


@dataclass(kw_only=True)
class TrainConfig:
    """How to train.

    max_steps and evaluate_every count optimizer steps (None: by epochs); lengthen multiplies the
    length, whichever of the two decides it; warmup is a fraction of the steps; early_stopping
    counts evaluations without a better `evaluate.metric`; modality_dropout is the probability of
    hiding a modality, per modality; teacher_cache: read the teacher's answers from disk instead of
    running it at each step (where a loss reads more than logits and `pooled`, the teacher runs all
    the same); held_out: the share of the training data that is set aside for learned weights (None:
    a tenth where the weighting learns, else nothing; a number sets it aside for any method, so that
    all train on the same examples).

    views_per_step: `sample` draws one of the views beside the multimodal one at each step and
    weighs it by their number, so that the gradient is right on average; group_by: `length` puts
    examples of like length into a batch, a modality's name those that share its content;
    cache_dtype: how the teacher cache keeps its numbers, from which the teacher's own scores are
    worked out, too; compile: the student by torch.compile, but for the packed pass of BERT-like
    models; parallel: how several processes share the work; tracker: who is told all that
    `metrics.jsonl` is, beside it (tensorboard and wandb write below the run folder).
    """

    epochs: PositiveInt = 3
    max_steps: PositiveInt | None = None
    lengthen: PositiveFloat = 1.0
    batch_size: PositiveInt = 64
    lr: PositiveFloat = 1e-3
    weight_decay: NonNegativeFloat = 0.01
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    warmup: Fraction = 0.1
    clip: PositiveFloat | None = 1.0
    accumulate: PositiveInt = 1
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    evaluate_every: PositiveInt | None = None
    save_every: PositiveInt = 200
    log_every: PositiveInt = 20
    early_stopping: PositiveInt | None = None
    modality_dropout: Fraction | dict[str, Fraction] = 0.0
    teacher_cache: bool = True
    cache_dtype: Literal["fp32", "fp16"] = "fp32"
    views_per_step: Literal["all", "sample"] = "all"
    group_by: str | None = None
    compile: bool = False
    parallel: Literal["ddp", "fsdp"] = "ddp"
    tracker: Literal["tensorboard", "wandb", "mlflow", "trackio"] | None = None
    held_out: Annotated[float, Ge(0), Lt(1)] | None = None


@dataclass(kw_only=True)
class EvaluateConfig:
    """How to evaluate.

    metric chooses the best checkpoint on val (None: the first of metrics); metrics: names or nodes
    (None: those that fit the task); views: None means multimodal and each modality alone;
    predictions: how the answers are written: `jsonl`, all classes of each in a line, `parquet`, a
    table with the top_k likeliest classes of each and its label's, or `auto`, a table of more than
    100 classes. Scores are worked out of all classes either way.
    """

    metric: str | None = None
    metrics: list[Annotated[Node, METRICS]] | None = None
    views: list[str] | None = None
    batch_size: PositiveInt = 256
    test: bool = True
    predictions: Literal["auto", "jsonl", "parquet"] = "auto"
    top_k: PositiveInt = 50


@dataclass(kw_only=True)
class TermKeys:
    """What a term of `distill` holds beside its loss's parameters.

    views: where it applies (None: the multimodal view and each modality alone); target: the
    teacher's view to imitate (None: the same); ramp: steps over which the weight grows from 0;
    layers: pairs [student's layer, teacher's layer] counted from 1, `uniform` or `last`.
    """

    weight: NonNegativeFloat = 1.0
    views: list[str] | None = None
    target: str | None = None
    ramp: NonNegativeInt = 0
    layers: Literal["uniform", "last"] | list[list[PositiveInt]] | None = None


@dataclass(kw_only=True)
class TaskKeys:
    """What `task` holds beside the loss's parameters."""

    weight: NonNegativeFloat = 1.0


@dataclass(kw_only=True)
class InitKeys:
    """Where a model's weights come from: a folder, or layers of the teacher.

    teacher_layers: the `first` ones, `uniform` (evenly spread from the first to the last), or a
    list, counted from 0.
    """

    folder: str | None = None
    teacher_layers: Literal["first", "uniform"] | list[NonNegativeInt] | None = None


@dataclass(kw_only=True)
class ModelKeys:
    """What a model node holds beside the model's parameters.

    processors: how each modality is read (missing ones are chosen from the raw kind);
    teacher_processors: read every modality as the teacher does, as losses on layers need;
    init: `{folder: PATH}` or `{teacher_layers: [0, 2, 4]}`.
    """

    processors: dict[str, Annotated[Node, PROCESSORS]] = field(default_factory=dict)
    teacher_processors: bool = False
    init: InitKeys | None = None


@dataclass(frozen=True)
class NodeOf:
    """Marks a config value as a plugin node with keys that belong to the framework."""

    registry: Registry
    keys: type

    @property
    def kind(self) -> str:
        return self.registry.kind

    def validate(self, node: Any) -> list[Problem]:
        return self.registry.validate(node, config_parameters(self.keys))

    def split(self, node: Node) -> tuple[Node, Any]:
        """(the plugin's own node, the framework's keys as a dataclass)"""
        mine = {k: v for k, v in node.items() if k in config_parameters(self.keys)}
        return {k: v for k, v in node.items() if k not in mine}, self.keys(**mine)


TERM = NodeOf(LOSSES, TermKeys)
TASK = NodeOf(LOSSES, TaskKeys)
MODEL = NodeOf(MODELS, ModelKeys)


class TeacherNode(NodeOf):
    """A model node, `{run: FOLDER}`, `{config: PATH}`, or what makes one of several of them."""

    def validate(self, node: Any) -> list[Problem]:
        if isinstance(node, dict) and "name" not in node:
            if len(node) == 1 and isinstance(node.get("run", node.get("config")), str):
                return []
            expected = "a model node, {run: FOLDER}, or the path of a config that makes it"
            return [("", f"expected {expected}; got {node!r}")]
        problems = super().validate(node)
        return self._members(node) if combines(node) and not problems else problems

    def _members(self, node: Node) -> list[Problem]:
        """What is wrong with each of several teachers."""
        problems = []
        for where, one in members(node).items():
            problems += [(f"{where}.{p}" if p else where, m) for p, m in self.validate(one)]
            if combines(one):
                message = f"'{one['name']}' holds no other; list all teachers in one"
                problems.append((where, message))
        return problems


@dataclass(kw_only=True)
class ExperimentConfig:
    """One experiment. Plugin nodes are flat: `{name: kl, temperature: 4.0}`.

    max_pixels: how many pixels a picture may have (None: `$MSDKIT_MAX_PIXELS`, else 64 million, for
    which up to 500 MB of memory are taken); no number of a run depends on it.

    sweep: what `msdkit sweep` tries for keys written as overrides are: `{train.lr: {low: 1e-4,
    high: 1e-2, log: true}}`, `{distill.0.temperature: {choices: [1, 2, 4]}}`.
    """

    dataset: Annotated[Node, DATASETS]
    student: Annotated[Node, MODEL]
    base: list[str] = field(default_factory=list)
    plugins: list[str] = field(default_factory=list)
    seed: NonNegativeInt = 0
    run_dir: str | None = None
    max_pixels: PositiveInt | None = None
    teacher: Annotated[Node, TeacherNode(MODELS, ModelKeys)] | None = None
    task: Annotated[Node, TASK] | None = None
    distill: list[Annotated[Node, TERM]] = field(default_factory=list)
    weighting: Annotated[Node, WEIGHTINGS] | None = None
    masking: Annotated[Node, MASKINGS] = field(default_factory=lambda: {"name": DEFAULT_MASKING})
    train: TrainConfig = field(default_factory=TrainConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    sweep: dict[str, Annotated[Node, SPACE]] = field(default_factory=dict)


TOP = [f.name for f in fields(ExperimentConfig)]
