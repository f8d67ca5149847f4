"""What plugins may say of themselves: each trait by name, with what holds where nothing is said.

Plugins are ordinary classes without a base. A trait is an attribute or a method that a class may
have, read as `traits.scope(loss)`, of a class or of an instance. `reads` is two: of a masking, and
of a metric, asked as `traits.answers_as(metric)`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from msdkit.types import TASKS, Task

T = TypeVar("T")
Parameters = dict[str, Any]  # of a plugin, as the config has them


@dataclass(frozen=True)
class Trait(Generic[T]):
    """An optional attribute or method of the plugins of some kinds, and its meaning in a line."""

    name: str
    kinds: str
    default: T
    meaning: str

    def __call__(self, plugin: object) -> T:
        """What a plugin says; the default where it says nothing, as None does."""
        said: T = getattr(plugin, self.name, self.default)
        return said


# Of several kinds

task_kinds = Trait[Collection[Task]](
    "task_kinds", "model loss weighting metric", TASKS, "the task kinds that it serves"
)
batch_coupled = Trait[bool](
    "batch_coupled", "loss weighting masking", False, "an example's value depends on its batch"
)
needs = Trait[Iterable[str]](
    "needs", "loss masking", (), "features that a loss reads; what a masking needs of the model"
)

# Data sets

task = Trait[str]("task", "dataset", "single_label", "its task kind")
modalities = Trait[Mapping[str, Any] | None]("modalities", "dataset", None, "{name: raw kind}")
metrics = Trait[Sequence[Any]]("metrics", "dataset", (), "how it is measured by default")
fields = Trait[Any]("fields", "dataset", None, "the columns of its files, for `predict`")
id_column = Trait[str]("id_column", "dataset", "id", "the column with ids, for `predict`")
declare = Trait[Callable[..., Mapping[str, Any]] | None](
    "declare", "dataset", None, "`(**parameters)`: modalities and task that depend on these"
)
needs_build = Trait[Callable[..., str] | None](
    "needs_build", "dataset", None, "`(**parameters)`: what has yet to be built; empty: nothing"
)
build = Trait[Callable[..., Any] | None](
    "build", "dataset", None, "`(**parameters)`: what `msdkit data build` does"
)
labels = Trait[Callable[..., Any] | None](
    "labels", "dataset", None, "`(rows)`: labels [B, C] when they are asked for"
)
unlabelled = Trait[Callable[[int], Any] | None](
    "unlabelled", "dataset", None, "`(row)`: the example without its label"
)
fingerprint = Trait[Callable[[], Any] | None](
    "fingerprint",
    "dataset",
    None,
    "`()`: names its content, which is then not read for that; but files that it names are",
)
slices = Trait[Callable[[], Mapping[str, Any]] | None](
    "slices", "dataset", None, "`()`: {name: rows} of what is reported apart"
)
unanswered = Trait[Sequence[str]](
    "unanswered", "dataset", (), "its classes that are never an answer, such as `<unk>`"
)
scoring = Trait[str | None](
    "scoring", "dataset", None, "how its labels were scored, told with results"
)
submission = Trait[Callable[..., Any] | None](
    "submission", "dataset", None, "`(rows)`: {file name: text} of what a leaderboard takes"
)

# Processors

random = Trait[bool]("random", "processor", False, "it transforms training examples at random")
dtype = Trait[str | None]("dtype", "processor", None, "how features are kept; None: fp32")
store = Trait[Any]("store", "processor", None, "the feature store that holds its results already")
own_key = Trait[bool](
    "own_key", "processor", False, "its `key` names files by something else than their content"
)
is_random = Trait[Callable[..., bool] | None](
    "is_random", "processor", None, "`(**parameters)`: `random` where it depends on these"
)

# Models

layout = Trait[str | None](
    "layout", "model", None, "equal for models with one sequence of positions"
)
width = Trait[int | None]("width", "model", None, "H of its features, told to losses")
masking = Trait[Any]("masking", "model", None, "what stands in for hidden modalities")
feature_names = Trait[Iterable[str]]("feature_names", "model", (), "all features that it gives")
num_classes = Trait[int | None]("num_classes", "model", None, "C of its logits")
provides = Trait[Callable[..., Iterable[str]] | None](
    "provides", "model", None, "`(**parameters)`: features and abilities that these give"
)
combined = Trait[Callable[[Parameters], dict[str, Any]] | None](
    "combined",
    "model",
    None,
    "`(node)`: {where: node} of the teachers that it makes one of (`specialists.VIEW`: of a view); "
    "under its keys `teachers`, a list, and `specialists` configs may be named by relative paths",
)
misfits = Trait[Callable[..., Iterable[tuple[str, str]]] | None](
    "misfits", "model", None, "`(node, modalities, task)`: (path, message) of what does not fit"
)
parameters_from = Trait[Callable[[Path], Parameters] | None](
    "parameters_from", "model", None, "`(folder)`: the parameters that its weights there have"
)
load_folder = Trait[Callable[..., None] | None](
    "load_folder",
    "model",
    None,
    "`(folder)`: loads weights of its own format; `labels`, if it takes them: its classes",
)
read = Trait[Callable[..., list[str]] | None](
    "read", "model", None, "`(views)`: the modalities that it reads to answer them"
)

# Losses

scope = Trait[str]("scope", "loss", "view", "`views`: called once with all views, not for each")
per_view = Trait[bool]("per_view", "loss", False, "each view gets a copy of its own")
layers = Trait[Any]("layers", "loss", "uniform", "how layers are paired where no config says")
divergence = Trait[bool]("divergence", "loss", False, "0 where student and teacher are equal")
plain = Trait[bool]("plain", "loss", False, "distillation by it alone is a study's baseline")
needs_for = Trait[Callable[..., Iterable[str]] | None](
    "needs_for", "loss", None, "`(**parameters)`: `needs` where they depend on these"
)

# Weightings

interval = Trait[int]("interval", "weighting", 1, "steps from one `update` to the next")
learning = Trait[bool]("learning", "weighting", False, "true inside of its own `update`")
per_step = Trait[bool | None](
    "per_step", "weighting", None, "whether its weights change with the step; None: it may"
)
control = Trait[bool]("control", "weighting", False, "a control, which weighs nothing by itself")
teacher_views = Trait[Callable[[Sequence[str]], Sequence[str]] | None](
    "teacher_views", "weighting", None, "`(modalities)`: teacher's views beyond the distilled ones"
)
validate = Trait[Callable[[Sequence[str]], None] | None](
    "validate", "weighting", None, "`(views)`: ConfigError unless it fits the distilled views"
)
fit = Trait[Callable[..., None] | None](
    "fit", "weighting", None, "`(teacher_logits, labels, ids)`: called once over the training set"
)
update = Trait[Callable[..., None] | None](
    "update", "weighting", None, "`(distiller, batch, held_out)`: it learns before a step"
)
candidates = Trait[Callable[[], Sequence[Parameters]] | None](
    "candidates",
    "weighting",
    None,
    "`()`: all parameters of each to try; the best on val stays",
)

# Maskings

deterministic = Trait[bool]("deterministic", "masking", True, "equal inputs give equal outputs")
observes = Trait[bool]("observes", "masking", False, "it gathers statistics of what is visible")
reads = Trait[bool]("reads", "masking", True, "it reads the embeddings that it hides")
hides_alone = Trait[bool](
    "hides_alone", "masking", True, "it can hide from a batch of one, as modality dropout asks"
)
setup = Trait[Callable[..., None] | None](
    "setup", "masking", None, "`(modalities, width)`: called once by the model that owns it"
)

# Metrics

higher_is_better = Trait[bool]("higher_is_better", "metric", True, "larger values are better")
answers_as = Trait[str](
    "reads", "metric", "probabilities", "what it is given of answers: these, or `logits`"
)
counts = Trait[Callable[..., Any] | None](
    "counts", "metric", None, "`(answers, labels)`: [B, K], whose sums `of_counts` reads"
)
undefined = Trait[Callable[..., str] | None](
    "undefined", "metric", None, "`(labels)`: why these leave it undefined; empty: they do not"
)

TRAITS = [trait for trait in list(vars().values()) if isinstance(trait, Trait)]


def of_kind(kind: str) -> frozenset[str]:
    """The names of what a plugin of this kind may say."""
    return frozenset(trait.name for trait in TRAITS if kind in trait.kinds.split())


def reads_logits(metric: object) -> bool:
    """Whether a metric is given logits; else probabilities."""
    return answers_as(metric) == "logits"


def learns(weighting: object) -> bool:
    """Whether a weighting learns from examples that are held out of training."""
    return callable(update(weighting))
