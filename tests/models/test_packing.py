"""Packed rows and attention against loops over single sequences."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from msdkit.models.packing import Moved, Packing, move
from msdkit.models.transformer import Dropout
from msdkit.registry import MODELS
from msdkit.types import Modality, Padded, default_views

HEADS, WIDTH = 2, 6


def masks(*lengths: list[int]) -> list[torch.Tensor]:
    """Prefix masks [B, L] of each view."""
    return [torch.arange(max(ls)) < torch.tensor(ls)[:, None] for ls in lengths]


def packing() -> Packing:
    shown = masks([5, 2, 3], [1, 4, 4], [2, 2, 2])
    shown[0][0] = torch.tensor([True, False, True, True, True])  # holes are padding too
    return Packing(shown)


def test_rows_are_those_that_the_masks_show_in_order():
    shown = masks([2, 1], [1, 3])
    first, second = torch.arange(4.0).view(2, 2, 1), 10 + torch.arange(6.0).view(2, 3, 1)
    packed = Packing(shown)
    rows = packed.pack([first, second])
    assert rows.flatten().tolist() == [0, 1, 2, 10, 13, 14, 15]
    back = packed.unpack(rows)
    assert back[0].flatten().tolist() == [0, 1, 2, 0]
    assert back[1].flatten().tolist() == [10, 0, 0, 13, 14, 15]
    assert packed.first.tolist() == [0, 2, 3, 4]
    last = packed.rows([torch.tensor([1, 0]), torch.tensor([0, 2])])
    assert rows[last].flatten().tolist() == [1, 2, 10, 15]


def alone(joined: torch.Tensor, packed: Packing) -> torch.Tensor:
    """Softmax attention of one sequence and one head after the other."""
    rows = []
    for first, length in zip(packed.first.tolist(), packed.lengths.tolist(), strict=True):
        part = joined[first : first + length].view(length, HEADS, 3, -1)
        heads = []
        for h in range(HEADS):
            query, key, value = part[:, h].unbind(1)
            scores = query @ key.T / query.shape[1] ** 0.5
            heads.append(scores.softmax(1) @ value)
        rows.append(torch.cat(heads, 1))
    return torch.cat(rows)


def test_attention_is_that_of_each_sequence_alone_and_so_is_its_gradient():
    torch.manual_seed(0)
    packed = packing()
    total = int(packed.lengths.sum())
    joined = torch.randn(total, 3 * WIDTH, dtype=torch.float64, requires_grad=True)
    direction = torch.randn(total, WIDTH, dtype=torch.float64)
    found, expected = packed.attend(joined, HEADS, Dropout(0.0)), alone(joined, packed)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    (mine,) = torch.autograd.grad(found, joined, direction)
    (theirs,) = torch.autograd.grad(expected, joined, direction)
    torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # torch's own, at the first dual number
def test_attention_has_all_derivatives():
    torch.manual_seed(1)
    packed = Packing(masks([2, 3], [1, 2]))
    joined = torch.randn(8, 3 * WIDTH, dtype=torch.float64, requires_grad=True)

    def attend(rows: torch.Tensor) -> torch.Tensor:
        return packed.attend(rows, HEADS, Dropout(0.0))

    assert gradcheck(attend, joined, check_forward_ad=True)
    assert gradgradcheck(attend, joined)


def test_one_query_of_each_sequence_sees_what_it_would_see_among_all():
    torch.manual_seed(3)
    packed = packing()
    total = int(packed.lengths.sum())
    joined = torch.randn(total, 3 * WIDTH, dtype=torch.float64, requires_grad=True)
    at = packed.first + packed.lengths - 1
    parts = joined.view(total, HEADS, 3, -1)
    query, rest = parts[at, :, 0].flatten(1), parts[:, :, 1:].flatten(1)
    found = packed.look(query, rest, HEADS, Dropout(0.0))
    expected = alone(joined, packed)[at]
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    direction = torch.randn(len(at), WIDTH, dtype=torch.float64)
    (mine,) = torch.autograd.grad(found, joined, direction)
    (theirs,) = torch.autograd.grad(expected, joined, direction)
    torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)


def test_sequences_of_like_length_are_attended_to_together():
    packed = Packing(masks([8, 7, 6, 5, 2, 8]))
    packed.attend(torch.randn(36, 3 * WIDTH), HEADS, Dropout(0.0))
    groups = packed.groups
    assert [(g.rows // HEADS, g.length) for g in groups] == [(4, 8), (1, 5), (1, 2)]
    assert groups[1].hidden is None  # nothing padded


def test_rows_that_come_from_nowhere_are_zero_and_have_no_gradient():
    rows = torch.tensor([[1.0], [2.0]], requires_grad=True)
    moved = move(rows, Moved.of(torch.tensor([1, -1, 0]), torch.tensor([2, 0])))
    assert moved.flatten().tolist() == [2, 0, 1]
    moved.backward(torch.tensor([[3.0], [5.0], [7.0]]))
    assert rows.grad.flatten().tolist() == [7, 3]


@pytest.mark.parametrize(
    "node",
    [
        {"name": "visual_bert"},
        {"name": "visual_bert", "pool": "last_token"},
        {"name": "uniter"},
        {"name": "vilt", "image_size": 4, "patch": 2},
    ],
)
def test_the_last_layer_computes_what_the_head_reads_with_the_gradient_of_all(node):
    torch.manual_seed(4)
    width = 14 if node["name"] == "vilt" else 12
    modalities = {"text": Modality("tokens", 200), "image": Modality("features", width)}
    sizes = {"layers": 2, "hidden": 8, "heads": 2, "vocab_size": 200}
    model = MODELS.build({**node, **sizes}, modalities=modalities, num_classes=3).double().eval()
    text = Padded(torch.randint(5, 99, (3, 4)), torch.arange(4) < torch.tensor([[4], [1], [2]]))
    image = Padded(torch.rand(3, 5, width).double(), torch.ones(3, 5).bool())
    gradients = []
    for features in ([], ["hidden.2"]):  # the last layer's states ask for all of it
        model.zero_grad()
        outputs = model({"text": text, "image": image}, default_views(modalities), features)
        logits = torch.stack([o.logits for o in outputs.values()])
        logits.square().sum().backward()
        gradients.append([logits, *(p.grad for p in model.parameters() if p.grad is not None)])
    for mine, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["visual_bert", "uniter"])
def test_views_together_equal_each_alone_and_padding_has_no_part(name):
    torch.manual_seed(2)
    modalities = {"text": Modality("tokens", 200), "image": Modality("features", 12)}
    node = {"name": name, "layers": 2, "hidden": 8, "heads": 2, "vocab_size": 200}
    model = MODELS.build(node, modalities=modalities, num_classes=3).double().eval()
    text = Padded(torch.randint(5, 99, (3, 4)), torch.arange(4) < torch.tensor([[4], [1], [2]]))
    image = Padded(torch.randn(3, 5, 12).double(), torch.arange(5) < torch.tensor([[2], [5], [3]]))
    views = default_views(modalities)
    names = model.feature_names
    together = model({"text": text, "image": image}, views, names)
    sum(o.logits.square().sum() for o in together.values()).backward()
    gradients = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    model.zero_grad()
    for view in views:
        for row in range(3):
            inputs = {
                m: Padded(
                    s.values[row : row + 1, : s.mask[row].sum()], s.mask[row][None, s.mask[row]]
                )
                for m, s in (("text", text), ("image", image))
            }
            output = model(inputs, [view], names)[view]
            torch.testing.assert_close(output.logits[0], together[view].logits[row])
            output.logits.square().sum().backward()
            for feature in names:
                mine, theirs = together[view].features[feature][row], output.features[feature][0]
                if feature != "pooled":
                    seen = together[view].mask[row]
                    mine = mine[seen] if feature[0] == "h" else mine[:, seen]
                    mine = mine[:, :, seen] if feature[0] == "a" else mine
                torch.testing.assert_close(mine, theirs)
    after = [p.grad for p in model.parameters() if p.grad is not None]
    for mine, theirs in zip(gradients, after, strict=True):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # the compiler looks at it itself
def test_a_compiled_model_gives_the_same():
    torch.manual_seed(5)
    modalities = {"text": Modality("tokens", 200), "image": Modality("features", 12)}
    node = {"name": "visual_bert", "layers": 2, "hidden": 8, "heads": 2, "vocab_size": 200}
    model = MODELS.build(node, modalities=modalities, num_classes=3).double().eval()
    views = default_views(modalities)
    answers: dict[bool, list] = {False: [], True: []}
    for compiled, found in answers.items():
        draws = torch.Generator().manual_seed(6)
        if compiled:
            model.compile(dynamic=True, backend="eager")
        for lengths in ([4, 1, 2], [2, 3, 3, 1]):  # other shapes at each call
            ids = torch.randint(5, 99, (len(lengths), 4), generator=draws)
            text = Padded(ids, torch.arange(4) < torch.tensor(lengths)[:, None])
            rows = torch.randn(len(lengths), 5, 12, generator=draws).double()
            image = Padded(rows, torch.ones(len(lengths), 5).bool())
            model.zero_grad()
            outputs = model({"text": text, "image": image}, views)
            sum(o.logits.square().sum() for o in outputs.values()).backward()
            found += [o.logits for o in outputs.values()]
            found += [p.grad.clone() for p in model.parameters() if p.grad is not None]
    for mine, theirs in zip(answers[True], answers[False], strict=True):
        torch.testing.assert_close(mine, theirs)
