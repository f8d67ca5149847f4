"""ViLT, CLIP and SigLIP against transformers' own models, from a picture's file to the logits."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from msdkit.data.inputs import pad
from msdkit.errors import ConfigError, DataError
from msdkit.models.clip_fusion import ClipFusion
from msdkit.models.masking import MaskToken, Mean, Zero
from msdkit.models.vilt import Vilt
from msdkit.processors.pixels import Pixels
from msdkit.testing.data import check_processor
from msdkit.testing.models import check_model
from msdkit.types import Modality, Padded, default_views

MODALITIES = {"text": Modality("tokens", 40), "image": Modality("features", 50)}
VIEWS = default_views(MODALITIES)
SPECIAL = {"cls_token_id": 41, "sep_token_id": 42, "mask_token_id": 43}
LAYER = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2}
LAYER |= {"num_attention_heads": 2, "initializer_range": 0.5}
TEXT = {**LAYER, "vocab_size": 50, "max_position_embeddings": 12, "pad_token_id": 1}
VISION = {**LAYER, "image_size": 16, "patch_size": 4}


@pytest.fixture(autouse=True)
def _silent():
    logging.getLogger("transformers").setLevel(logging.ERROR)


def random(model):
    with torch.no_grad():
        for value in model.parameters():
            value.normal_(0, 0.4)
    return model.eval()


def vilt(folder, cls="ViltForQuestionAnswering"):
    import transformers

    config = {**LAYER, "vocab_size": 50, "max_position_embeddings": 12, "image_size": 16}
    config = transformers.ViltConfig(**config, patch_size=4, num_labels=3)
    model = random(getattr(transformers, cls)(config))
    model.save_pretrained(folder)
    size = {"size": {"shortest_edge": 16}, "size_divisor": 4}
    transformers.ViltImageProcessor(**size).save_pretrained(folder)
    return model


def clip(folder, **text):
    import transformers

    text = {**TEXT, "bos_token_id": 48, "eos_token_id": 49, "projection_dim": 6, **text}
    vision = {**VISION, "projection_dim": 6}
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=6)
    model = random(transformers.CLIPModel(config))
    model.save_pretrained(folder)
    sizes = {"size": {"shortest_edge": 16}, "crop_size": {"height": 16, "width": 16}}
    transformers.CLIPImageProcessor(**sizes).save_pretrained(folder)
    return model


def siglip(folder):
    import transformers

    text = {**TEXT, "bos_token_id": 0, "eos_token_id": 1, "projection_size": 8}
    model = random(
        transformers.SiglipModel(transformers.SiglipConfig(text_config=text, vision_config=VISION))
    )
    model.save_pretrained(folder)
    size = {"height": 16, "width": 16}
    transformers.SiglipImageProcessor(size=size).save_pretrained(folder)
    return model


MAKERS = {"vilt": vilt, "clip": clip, "siglip": siglip}


def pictures(folder, sizes=((40, 30), (16, 32), (20, 20))):
    paths = []
    for i, (width, height) in enumerate(sizes):
        values = np.random.default_rng(i).integers(0, 255, (height, width, 3), np.uint8)
        Image.fromarray(values).save(folder / f"{i}.png")
        paths.append(folder / f"{i}.png")
    return paths


def batch(folder):
    pixels = Pixels(folder=str(folder), dtype="fp32")
    rows = pad(pixels.batch(pictures(folder)))
    text_mask = torch.arange(5) < torch.tensor([[5], [2], [0]])
    return {"text": Padded(torch.randint(2, 40, (3, 5)), text_mask), "image": rows}


def loaded(cls, folder, masking=None, **params):
    built = cls(MODALITIES, 3, masking, **{**cls.parameters_from(folder), **params}).eval()
    built.load_folder(folder)
    return built


def words(inputs, row):
    return inputs["text"].values[row, : int(inputs["text"].mask[row].sum())].tolist()


@pytest.mark.parametrize("name", list(MAKERS))
def test_pixels_are_the_patches_of_transformers_own_processor(tmp_path, name):
    from transformers import AutoImageProcessor

    MAKERS[name](tmp_path)
    paths = pictures(tmp_path)
    pixels, theirs = Pixels(folder=str(tmp_path)), AutoImageProcessor.from_pretrained(tmp_path)
    check_processor(pixels, paths)
    assert pixels.modality == Modality("features", 50)
    for path in paths:
        image = theirs(Image.open(path), return_tensors="pt")["pixel_values"]
        expected = F.unfold(image, 4, stride=4)[0].T.numpy()
        rows = pixels(path)
        np.testing.assert_allclose(rows[:, :-2], expected, atol=1e-6)
        lines, columns = image.shape[2] // 4, image.shape[3] // 4
        assert rows[:, -2].tolist() == [float(i // columns) for i in range(lines * columns)]
        assert rows[:, -1].tolist() == [float(i % columns) for i in range(lines * columns)]


def test_pixels_need_a_folder_that_names_them(tmp_path):
    with pytest.raises(DataError, match=r"config\.json tells no patch_size .* ViLT, CLIP or Sig"):
        _ = Pixels(folder=str(tmp_path)).modality
    (tmp_path / "config.json").write_text('{"patch_size": 4}')
    with pytest.raises(DataError, match=r"holds no preprocessor_config\.json"):
        Pixels(folder=str(tmp_path)).fingerprint()
    (tmp_path / "preprocessor_config.json").write_text("{}")
    with pytest.raises(DataError, match=r"processor `pixels`: "):
        Pixels(folder=str(tmp_path))(pictures(tmp_path)[0])


def test_a_picture_of_which_no_patch_is_left_is_named(tmp_path):
    vilt(tmp_path)
    (path,) = pictures(tmp_path, [(4000, 20)])  # 26 wide at most, so less than 4 high
    message = r"picture .*0\.png: of 4000 × 20 pixels the image processor of .* leaves no patch"
    with pytest.raises(DataError, match=message + r".*shorter side, resized, is at least 4 pixels"):
        Pixels(folder=str(tmp_path))(path)


def test_vilt_equals_transformers_own(tmp_path):
    theirs = vilt(tmp_path)
    mine, inputs = loaded(Vilt, tmp_path, **SPECIAL), batch(tmp_path)
    outputs = mine(inputs, VIEWS, ["pooled", "hidden.2"])
    for row, path in enumerate(pictures(tmp_path)):
        rows = Pixels(folder=str(tmp_path), dtype="fp32")(path)
        lines, columns = (int(rows[:, i].max()) + 1 for i in (-2, -1))
        image = torch.from_numpy(rows[:, :-2]).view(lines, columns, 3, 4, 4)
        image = image.permute(2, 0, 3, 1, 4).reshape(1, 3, 4 * lines, 4 * columns)
        ids = torch.tensor([[41, *words(inputs, row), 42]])
        for view in VIEWS[:2] if row == 0 else VIEWS[:1]:
            seen = {"pixel_values": image, "pixel_mask": torch.ones_like(image[:, 0])}
            if view == "text":  # its own mask shows the image's [CLS] and no patch
                first = theirs.vilt.embeddings.cls_token
                first = first + theirs.vilt.embeddings.position_embeddings[:, :1]
                seen = {"image_embeds": first, "pixel_mask": torch.ones(1, 1)}
            expected = theirs(input_ids=ids, attention_mask=torch.ones_like(ids), **seen).logits
            logits = outputs[view].logits[row]
            torch.testing.assert_close(logits, expected[0], atol=1e-4, rtol=1e-4)


def test_vilt_hides_text_as_its_own_mask_does(tmp_path):
    theirs = vilt(tmp_path)
    mine, inputs = loaded(Vilt, tmp_path, **SPECIAL), batch(tmp_path)
    rows = inputs["image"].rows(torch.tensor([0]))
    image = rows.values[0, : int(rows.mask.sum())]
    lines, columns = (int(image[:, i].max()) + 1 for i in (-2, -1))
    pixels = image[:, :-2].view(lines, columns, 3, 4, 4).permute(2, 0, 3, 1, 4)
    pixels = pixels.reshape(1, 3, 4 * lines, 4 * columns)
    ids = torch.tensor([[41, 42, 7, 8]])  # [SEP] at position 1, and words that the mask hides
    expected = theirs(
        input_ids=ids,
        attention_mask=torch.tensor([[1, 1, 0, 0]]),
        pixel_values=pixels,
        pixel_mask=torch.ones_like(pixels[:, 0]),
    ).logits
    logits = mine({"image": rows}, VIEWS[2:])["image"].logits
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-4)


def test_vilt_comes_back_to_the_bit_and_names_other_heads(tmp_path):
    theirs = vilt(tmp_path)
    mine = loaded(Vilt, tmp_path, **SPECIAL).state_dict()
    for name, value in theirs.state_dict().items():
        ours = name.replace("vilt.", "bert.", 1).replace("classifier.", "head.", 1)
        assert torch.equal(mine.pop(ours), value)
    assert not mine
    vilt(tmp_path, "ViltForImageAndTextRetrieval")
    new, unread = r"newly made: head\.bias", r"not used: rank_output\.bias"
    with pytest.warns(UserWarning, match=new), pytest.warns(UserWarning, match=unread):
        loaded(Vilt, tmp_path, **SPECIAL)


@pytest.mark.parametrize("kind", ["clip", "clip of old", "siglip"])
def test_clip_fusion_reads_transformers_own_vectors(tmp_path, kind):
    old = {"eos_token_id": 2, "bos_token_id": 0} if "old" in kind else {}
    ids = {"bos_token_id": 48, "eos_token_id": 49} if old else {}
    theirs = siglip(tmp_path) if kind == "siglip" else clip(tmp_path, **old)
    with (
        pytest.warns(UserWarning, match=r"not used: logit_"),
        pytest.warns(
            UserWarning,
            match=r"newly made: fusion\.bias, fusion\.weight, head\.bias, head\.weight$",
        ),
    ):
        mine = loaded(ClipFusion, tmp_path, **ids)
    inputs = batch(tmp_path)
    parts = mine.embed(inputs)
    for row, path in enumerate(pictures(tmp_path)):
        image = Pixels(folder=str(tmp_path)).prepare(Image.open(path), return_tensors="pt")
        vectors = theirs.vision_model(**image).pooler_output
        ids = [48, *words(inputs, row), 49]
        if kind == "siglip":
            ids = [*words(inputs, row), 1]
            ids += [1] * (12 - len(ids))
        texts = theirs.text_model(input_ids=torch.tensor([ids])).pooler_output
        if kind != "siglip":
            vectors, texts = theirs.visual_projection(vectors), theirs.text_projection(texts)
        for name, vector in (("image", vectors), ("text", texts)):
            expected = F.normalize(vector[0], dim=0) * len(vector[0]) ** 0.5
            torch.testing.assert_close(parts[name][0][row, 0], expected, atol=1e-4, rtol=1e-4)


def test_the_fusion_is_zero_where_a_modality_is_hidden(tmp_path):
    clip(tmp_path)
    mine = random(ClipFusion(MODALITIES, 3, **ClipFusion.parameters_from(tmp_path)))
    inputs = batch(tmp_path)
    text, image = (mine.embed(inputs)[m][0][:, 0] for m in ("text", "image"))
    outputs, none = mine(inputs, VIEWS), torch.zeros(3, 6)
    for view, parts in (
        ("multimodal", (text, image, text * image)),
        ("text", (text, none, none)),
        ("image", (none, image, none)),
    ):
        expected = mine.head(F.gelu(mine.fusion(torch.cat(parts, 1))))
        torch.testing.assert_close(outputs[view].logits, expected)


@pytest.mark.parametrize("masking", [None, Zero, Mean, MaskToken])
@pytest.mark.parametrize("name", list(MAKERS))
def test_they_keep_the_contract(tmp_path, name, masking):
    MAKERS[name](tmp_path)
    cls, special = (Vilt, SPECIAL) if name == "vilt" else (ClipFusion, {})
    params = {**cls.parameters_from(tmp_path), **special}
    check_model(random(cls(MODALITIES, 3, masking and masking(), **params)))


def test_what_they_cannot_be_built_from_is_named(tmp_path):
    narrow = {**MODALITIES, "image": Modality("features", 48)}
    with pytest.raises(ConfigError, match=r"Vilt: rows of 'image' are 48 wide; accepted: 50, a "):
        Vilt(narrow, 3, **SPECIAL, layers=1, hidden=8, heads=2, vocab_size=50, patch=4)
    clip(tmp_path)
    params = ClipFusion.parameters_from(tmp_path)
    with pytest.raises(ConfigError, match="ClipFusion: rows of 'image' are 48 wide"):
        ClipFusion(narrow, 3, **params)
    with pytest.raises(ConfigError, match="config is of a 'blip'; accepted: clip, siglip"):
        ClipFusion(MODALITIES, 3, config={"model_type": "blip"})
    long = {"text": Padded(torch.ones(1, 11).long(), torch.ones(1, 11, dtype=torch.bool))}
    with pytest.raises(DataError, match="'text' has 11 tokens; accepted: at most 10"):
        ClipFusion(MODALITIES, 3, **params)(long, VIEWS[1:2])
    with pytest.raises(DataError, match="model_type is 'clip'; accepted: vilt"):
        Vilt.parameters_from(tmp_path)
