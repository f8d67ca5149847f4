"""A model as a folder: weights, parameters and processors; all that inference needs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from msdkit import parallel, traits
from msdkit.config.schema import Node
from msdkit.data.inputs import pad
from msdkit.errors import DataError
from msdkit.functional import probabilities, without_classes
from msdkit.hub.paths import local
from msdkit.io.files import whole, whole_folder, write_text
from msdkit.io.seals import check
from msdkit.models.weights import load_weights
from msdkit.plugins import load_entry_points, load_plugins, named_by
from msdkit.registry import MASKINGS, MODELS, PROCESSORS
from msdkit.types import MULTIMODAL, Modality, Padded, Task, View

ABOUT = "model.json"
WEIGHTS = "model.safetensors"
NEEDED = ["name", "params", "masking", "modalities", "processors", "processor_states"]
NEEDED += ["task", "label_names", "plugins", "fields", "id_column"]


@dataclass
class SavedModel:
    """A model with its processors: raw values in, probabilities (regression: numbers) out.

    node: the model's plugin node, with every parameter that it was built with; fields: where the
    rows of a file hold each modality: a type (the column is called like the modality) or
    `{column, type}`; id_column: where they hold the id; unanswered: the classes that are never an
    answer.
    """

    model: nn.Module
    node: Node
    masking: Node
    processors: dict[str, Any]
    processor_nodes: dict[str, Node]
    fields: dict[str, Any]
    task: Task
    label_names: list[str]
    plugins: list[str] = field(default_factory=list)
    id_column: str = "id"
    unanswered: list[str] = field(default_factory=list)

    @property
    def modalities(self) -> dict[str, Modality]:
        """What the model reads of each modality."""
        return {name: p.modality for name, p in self.processors.items()}

    @property
    def digestible(self) -> dict[str, Any]:
        """The nodes that, with the weights, decide what the model answers."""
        return {"model": self.node, "masking": self.masking}

    def save(self, folder: Path) -> None:
        """Write `model.safetensors` and `model.json` into an existing folder.

        Of several processes all must call it, and the main one writes.
        """
        tensors = parallel.whole(self.model.state_dict())
        parallel.from_main(lambda: self._write(folder, tensors))

    def _write(self, folder: Path, tensors: Mapping[str, Tensor]) -> None:
        # Cloned, as tied weights may not share memory
        state = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
        with whole(folder / WEIGHTS) as partial:
            save_file(state, partial)
        about = {
            "name": self.node["name"],
            "params": {k: v for k, v in self.node.items() if k != "name"},
            "masking": self.masking,
            "modalities": {m: asdict(x) for m, x in self.modalities.items()},
            "fields": self.fields,
            "id_column": self.id_column,
            "processors": self.processor_nodes,
            "processor_states": {m: p.state() for m, p in self.processors.items()},
            "task": self.task,
            "label_names": self.label_names,
            "plugins": self.plugins,
            "unanswered": self.unanswered,
        }
        write_text(folder / ABOUT, json.dumps(about, indent=1))

    def needed(self, views: Sequence[str]) -> list[str]:
        """The modalities that these views read; all others may be absent."""
        parsed = [View.parse(v, self.processors) for v in views]
        read = traits.read(self.model)
        return read(parsed) if read else sorted(set().union(*(v.visible for v in parsed)))

    def inputs(self, examples: Sequence[Mapping[str, Any]], views: Sequence[View]) -> Any:
        """{modality: Sequence} of raw examples."""
        inputs: dict[str, Padded] = {}
        for modality in self.needed(views):
            missing = [i for i, example in enumerate(examples) if modality not in example]
            if missing:
                wanted = ", ".join(views)
                raise DataError(f"example {missing[0]} has no '{modality}', needed for: {wanted}")
            processor = self.processors[modality]
            inputs[modality] = pad(processor.batch([e[modality] for e in examples]))
        return inputs

    def logits(
        self, examples: Sequence[Mapping[str, Any]], views: Sequence[str] = (MULTIMODAL,)
    ) -> dict[str, Tensor]:
        """B raw examples -> {view: [B, C]}, the least for classes that are never an answer."""
        parsed = [View.parse(v, self.processors) for v in views]
        self.model.eval()
        device = next((x.device for x in self.model.parameters()), "cpu")
        with torch.inference_mode():
            inputs = {m: s.to(device) for m, s in self.inputs(examples, parsed).items()}
            outputs = self.model(inputs, parsed)
        never = [self.label_names.index(name) for name in self.unanswered]
        return {v: without_classes(outputs[v].logits, never) for v in parsed}

    def predict(
        self, examples: Sequence[Mapping[str, Any]], view: str = MULTIMODAL
    ) -> list[dict[str, float]]:
        """B raw examples `{modality: text | path | array}` -> {class: probability} for each.

        Regression: {target: number}.
        """
        shares = probabilities(self.task, self.logits(examples, [view])[view])
        return [dict(zip(self.label_names, row, strict=True)) for row in shares.tolist()]


def load(
    folder: str | Path,
    masking: Node | None = None,
    *,
    processors: Mapping[str, Node] | None = None,
    plugins: list[str] | None = None,
) -> SavedModel:
    """Load a run folder's best model, or a folder with `model.json` and `model.safetensors`.

    folder: may be an address (see `msdkit.hub.paths`).
    masking: how hidden modalities are removed, if not as in training. processors, plugins: the
    nodes of some modalities and the list, where files that they name have moved. The plugins that
    the run was trained with are imported, which runs their code, and a line for each says from
    where: load only what you trust.
    """
    folder = local(folder)
    if not (folder / ABOUT).exists():
        folder = whole_folder(folder / "best")
    for name in (ABOUT, WEIGHTS):
        check(folder / name)
    about = _read_about(folder)
    about["processors"] |= processors or {}
    about["plugins"] = about["plugins"] if plugins is None else plugins
    load_entry_points()
    with named_by(folder / ABOUT):
        load_plugins(about["plugins"])
    node = {"name": about["name"], **about["params"]}
    masking = masking or about["masking"]
    made = {
        m: PROCESSORS.build(n, modality=_held(about, m)) for m, n in about["processors"].items()
    }
    for name, processor in made.items():
        processor.load_state(about["processor_states"][name])
    model = MODELS.build(
        node,
        modalities={name: Modality(**x) for name, x in about["modalities"].items()},
        num_classes=len(about["label_names"]),
        masking=MASKINGS.build(masking),
    )
    load_weights(model, folder)
    return SavedModel(
        model.eval(),
        node,
        masking,
        made,
        about["processors"],
        about["fields"],
        about["task"],
        about["label_names"],
        about["plugins"],
        about["id_column"],
        about.get("unanswered", []),  # absent in older folders
    )


def _read_about(folder: Path) -> dict[str, Any]:
    """`model.json`; DataError when it is not one of ours."""
    try:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        lacking = [key for key in NEEDED if key not in about]
        reason = f"{ABOUT} lacks {', '.join(lacking)}" if lacking else None
    except (OSError, ValueError, TypeError) as error:
        reason = str(error)
    if reason:
        raise DataError(f"{folder} holds no saved model ({reason}); give a run's folder")
    return about


def _held(about: dict[str, Any], modality: str) -> Modality | None:
    """What the data set declared, as the `array` processor takes it; None if that was fitted."""
    fitted = about["processor_states"][modality]
    return None if fitted else Modality(**about["modalities"][modality])
