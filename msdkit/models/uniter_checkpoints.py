"""UNITER's checkpoints, its authors' and MMF's: their names, their heads, and MMF's masked row.

Read of ChenRocks/UNITER 1dbfa62, model/*.py, and of mmf b0ffc7f, models/uniter.py and
models/transformers/heads/mlp.py.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from msdkit.errors import DataError, listing
from msdkit.models.checkpoint_config import check_fixed, home, mmf_config, within
from msdkit.models.checkpoint_names import Rules, load_foreign, sizes, translate
from msdkit.models.uniter_heads import MMF_EPS, head_parameters
from msdkit.models.weights import read_weights
from msdkit.models.wrappers import bare

# MMF's names are the authors' one level deeper; heads keep theirs until one is chosen
NAMES: Rules = (
    (r"^(model\.)?uniter\.(uniter|heads|losses)\.", r"\2."),
    (r"^uniter\.(text_)?embeddings\.", "bert.embeddings."),
    (r"^uniter\.img_embeddings\.(final_layer_norm|LayerNorm)\.", "regions.norm."),
    (r"^uniter\.img_embeddings\.", "regions."),
    (r"^uniter\.", "bert."),
)
OTHER_HEADS = (
    r"^((cls|feat_regress|region_classifier|losses|\w+_output)\.)",
    r"other_head.\1",
)
REPLACEABLE = ("head.", "bert.pooler.", "other_head.")
# What this model does not vary: another value in MMF's config is refused
FIXED = {"hidden_act": "gelu", "layer_norm_eps": 1e-12, "position_embedding_type": "absolute"}
FIXED_HEAD = {"hidden_act": "gelu", "layer_norm_eps": MMF_EPS}
PUBLISHED = (768, 1024)  # widths whose heads are 64 wide, by the configs that come with the code
IN_MMF = re.compile(r"uniter\.img_embeddings\.final_layer_norm\.")
# The authors' heads of one pooled [CLS], and those that this model cannot compute
POOLED = ("vqa_output", "nlvr2_output", "rank_output")
ELSEWHERE = {
    "re_output": "scores each region",
    "vcr_output": "reads answers and rationales as types of their own, and through a ReLU",
    "nlvr2_output": "reads two pictures, each with the text",
}
PARTS = re.compile(r"(re_output|vcr_output|nlvr2_output|attn1|attn2|fc|attn_pool)\.")
POOLER, TYPES = "bert.pooler.", "bert.embeddings.token_type_embeddings.weight"
CONTENT, MASKED = "regions.img_linear.", "regions.mask_embedding.weight"

Head = dict[str, str]  # {its tensor, as NAMES has it: ours}


def parameters(place: Path) -> dict[str, Any]:
    """The sizes that a checkpoint has, and its heads' form where they have but one."""
    found, _ = translate(read_weights(place), NAMES, place)
    forms = [head_parameters(_tensors(head, found)) for head in heads(found).values()]
    size = sizes(found, place)
    if told := _attention_heads(place):
        size["heads"] = told
    elif size["hidden"] not in PUBLISHED:
        says = f"no config beside it tells the number of heads (taken as heads: {size['heads']})"
        _say(place, f"{says}; what the model's config gives comes first")
    return size | (forms[0] if forms and all(f == forms[0] for f in forms) else {})


def _attention_heads(place: Path) -> int | None:
    """By MMF's config, or by the model.json that the authors' training leaves beside its `ckpt`."""
    if told := mmf_config(place, "uniter"):
        usual = 16 if "large" in str(told.get("bert_model_name")) else 12
        return within(told, "encoder").get("num_attention_heads", usual)
    path = home(place).parent / "log" / "model.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8")).get("num_attention_heads")
    except (OSError, ValueError, AttributeError):
        return None
    return found if isinstance(found, int) else None


def load(model: nn.Module, place: Path, task: str | None, labels: Sequence[str]) -> None:
    """Load a checkpoint into a `Uniter`: with the head of `task`, or the one that fits."""
    weights = read_weights(place)
    found, origin = translate(weights, NAMES, place)
    known = heads(found)
    head = _with_pooler(_chosen(known, found, model.state_dict(), task, place), found)
    changed = _two_types(found, place)
    if any(IN_MMF.search(bare(name)) for name in weights):
        _check_config(place, head)
        changed |= without_mask(found)
    unread = _left_out(found, known, place) | _other_tasks(found, head, place)
    if any(ours.startswith(POOLER) for ours in head.values()):  # MMF's encoder has another, unused
        unread |= {n for n in found if n.startswith(POOLER)}
    kept = {origin[n]: changed.get(n, value) for n, value in found.items() if n not in unread}
    names = [(f"^{re.escape(name)}$", ours) for name, ours in head.items()]
    load_foreign(model, kept, (*NAMES, *names, OTHER_HEADS), place, REPLACEABLE, labels=labels)


def heads(found: Mapping[str, Tensor]) -> dict[str, Head]:
    """{its task, or the authors' name: a head that reads one pooled [CLS]}"""
    tasks = _tasks(found, "classifier") & _tasks(found, "pooler")
    known = {task: _of_mmf(task, found) for task in sorted(tasks)}
    for name in POOLED:
        known[name] = {n: "head" + n.removeprefix(name) for n in found if n.startswith(f"{name}.")}
    pair = found.get("nlvr2_output.weight")
    if pair is not None and pair.shape[1] != len(found.get("regions.norm.weight", ())):
        del known["nlvr2_output"]
    first = {"head.weight", "head.0.weight", "head.0.dense.weight"}
    return {name: head for name, head in known.items() if first & set(head.values())}


def _tasks(found: Mapping[str, Tensor], part: str) -> set[str]:
    return {m[1] for n in found if (m := re.match(rf"heads\.([^.]+)\.{part}\.", n))}


def _of_mmf(task: str, found: Mapping[str, Tensor]) -> Head:
    """dropout, transform, as often as its num_layers, linear; ours begins behind the dropout"""
    head: Head = _pooler(task)
    for name in found:
        if m := re.match(rf"heads\.{re.escape(task)}\.classifier\.(\d+)\.(.+)", name):
            head[name] = f"head.{m[2]}" if m[1] == "0" else f"head.{int(m[1]) - 1}.{m[2]}"
    return head


def _pooler(task: str) -> Head:
    parts = ("dense.weight", "dense.bias")
    return {f"heads.{task}.pooler.{part}": f"{POOLER}{part}" for part in parts}


def _chosen(
    known: Mapping[str, Head],
    found: Mapping[str, Tensor],
    own: Mapping[str, Tensor],
    task: str | None,
    place: Path,
) -> Head:
    if task is not None and task not in known:
        raise DataError(f"{place}: task_head is '{task}'; accepted: {listing(known)}")
    names = [task] if task else list(known)
    if len(names) > 1:
        names = [n for n in names if _fits(known[n], found, own)]
        alike = f"{listing(names)} fit alike" if names else "none fits"
        ask = f"{alike}, so it has a new one; name one by task_head"
        end = f"only {names[0]} fits, and is loaded" if len(names) == 1 else ask
        _say(place, f"of its heads ({listing(known)}) {end}")
    if len(names) != 1:
        return {}
    head = known[names[0]]
    theirs, mine = head_parameters(_tensors(head, found)), head_parameters(own)
    if theirs == mine:
        return head
    usual = {"head": "mlp"}
    differ = f"the head of {names[0]} is {usual | theirs}, this model's {usual | mine}"
    _say(place, f"{differ}, so it is left out")
    return {name: ours for name, ours in head.items() if ours.startswith(POOLER)}


def _tensors(head: Head, found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {ours: found[name] for name, ours in head.items() if name in found}


def _fits(head: Head, found: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> bool:
    theirs = {ours: value.shape for ours, value in _tensors(head, found).items()}
    needed = {ours for ours in own if ours.startswith("head.")} | theirs.keys()
    return all(n in own and own[n].shape == theirs.get(n) for n in needed)


def _with_pooler(head: Head, found: Mapping[str, Tensor]) -> Head:
    """A head of MMF that fits nothing leaves its pooler, if it is the only one."""
    tasks = _tasks(found, "pooler")
    has = any(ours.startswith(POOLER) for ours in head.values())
    return head if has or len(tasks) != 1 else head | _pooler(*tasks)


def _check_config(place: Path, head: Head) -> None:
    """DataError where MMF's config says of the model, or of its head, what this one cannot do."""
    told, where = mmf_config(place, "uniter"), f"{place}: MMF's config"
    for part in ("encoder", "text_embeddings"):
        check_fixed(within(told, part), FIXED, f"{where}, {part}")
    for task in {name.split(".")[1] for name, ours in head.items() if ours.startswith("head.")}:
        check_fixed(within(told, "heads", task), FIXED_HEAD, f"{where}, head of {task}")


def without_mask(found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors with which regions are read as MMF reads them.

    Its `img_masks=image_mask` adds row 1 of the mask to the feature of every region that is no
    padding, so W · (f + m) + b; here b + W · m is the bias, and the masked feature, m, is 0.
    """
    if not {f"{CONTENT}weight", f"{CONTENT}bias", MASKED} <= found.keys():
        return {}  # what is missing is named where all tensors are compared
    weight, rows = found[f"{CONTENT}weight"].double(), found[MASKED].double()
    bias = found[f"{CONTENT}bias"].double() + weight @ rows[1]
    return {f"{CONTENT}bias": bias, MASKED: torch.zeros_like(rows)}


def _two_types(found: Mapping[str, Tensor], place: Path) -> dict[str, Tensor]:
    if TYPES not in found or len(types := found[TYPES]) <= 2:
        return {}
    left = ", ".join(map(str, range(2, len(types))))
    _say(place, f"rows {left} of the token types are left out; here words have 0, regions 1")
    return {TYPES: types[:2]}


def _left_out(found: Mapping[str, Tensor], known: Mapping[str, Head], place: Path) -> set[str]:
    """The tensors of heads that this model cannot compute, which it says"""
    for name, why in ELSEWHERE.items():
        if name not in known and any(n.startswith(f"{name}.") for n in found):
            _say(place, f"the head {name} is left out: it {why}")
    inside = {n for head in known.values() for n in head}
    return {n for n in found if PARTS.match(n)} - inside


def _other_tasks(found: Mapping[str, Tensor], head: Head, place: Path) -> set[str]:
    """The tensors of MMF's heads that are not the chosen one, which it says"""
    unread = {n for n in found if n.startswith("heads.")} - head.keys()
    if tasks := {n.split(".")[1] for n in unread}:
        _say(place, f"in this checkpoint but not used: the heads {listing(tasks)}")
    return unread


def _say(place: Path, what: str) -> None:
    warnings.warn(f"{place}: {what}", stacklevel=4)
