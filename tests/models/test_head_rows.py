"""A trained head's rows by the names of its classes: MMF's vocabularies, transformers' id2label."""

from __future__ import annotations

import json

import pytest
import torch
import yaml
from safetensors.torch import save_file
from visual_bert_files import loaded, loaded_quietly, model, renamed

from msdkit.datasets.mmimdb import GENRES
from msdkit.models.head_rows import class_names

# Some order, as a file of classes may have it; MMF's words are lower-case
CLASSES = sorted((genre.lower() for genre in GENRES), key=lambda name: name[::-1])
VOCABULARY = "datasets/mmimdb/defaults/extras/classes_mm_imdb.txt"


def mmf(folder, rows=24, config=True, vocabulary=VOCABULARY):
    """MMF's MM-IMDB checkpoint: the weight [rows, H] of its last layer holds its row's number."""
    mine = model(head="transform")
    state = renamed(mine.state_dict(), "model.bert.", "model.classifier.")
    state["model.classifier.1.weight"] = torch.arange(rows).float()[:, None].expand(-1, 8).clone()
    state["model.classifier.1.bias"] = torch.arange(rows).float()
    torch.save({"model": state}, folder / "best.ckpt")
    node = {"type": "multi_hot_answer_from_vocab", "params": {"vocab_file": vocabulary}}
    told = {
        "model_config": {"visual_bert": {"num_labels": rows, "num_attention_heads": 1}},
        "dataset_config": {
            "mmimdb": {
                "data_dir": str(folder / "data"),
                "processors": {"text_processor": {"type": "vocab"}, "answer_processor": node},
            }
        },
    }
    if config:
        (folder / "config.yaml").write_text(yaml.safe_dump(told))


def rows_of(mine):
    """Which row of the checkpoint each of the model's classes has."""
    weight, bias = mine.head[1].weight[:, 0].tolist(), mine.head[1].bias.tolist()
    assert weight == bias
    return [int(row) for row in weight]


@pytest.mark.parametrize("config", [True, False])
def test_mmfs_24_rows_for_23_genres_lose_the_unknown_one_and_keep_their_order(tmp_path, config):
    mmf(tmp_path, config=config)
    for labels in ((), GENRES):
        mine, said = loaded_quietly(tmp_path, classes=23, labels=labels)
        assert rows_of(mine) == list(range(1, 24))
        assert "row 0 of its head is MMF's <unk> and left out; the other 23 are taken in " in said
        assert ("by name, where classes_mm_imdb.txt lies beside it" in said) == config
        assert "newly made" not in said


@pytest.mark.parametrize("unknown", [None, 0, 7, 23])
@pytest.mark.parametrize("where", ["classes_mm_imdb.txt", f"data/{VOCABULARY}"])
def test_by_name_where_the_file_of_classes_lies_beside_or_where_mmf_had_it(
    tmp_path, unknown, where
):
    mmf(tmp_path)
    names = list(CLASSES)
    names.insert(unknown or 0, "<unk>")
    (tmp_path / where).parent.mkdir(parents=True, exist_ok=True)
    written = CLASSES if unknown is None else names  # VocabDict puts <unk> first where it lacks
    (tmp_path / where).write_text("\n".join(written) + "\n")
    assert class_names(tmp_path / "best.ckpt") == names
    mine, said = loaded_quietly(tmp_path / "best.ckpt", classes=23, labels=GENRES)
    assert rows_of(mine) == [names.index(genre.lower()) for genre in GENRES]
    assert "23 of its head's 24 rows are taken by name" in said
    mine, said = loaded_quietly(tmp_path, classes=23)  # the classes' names are not told
    assert rows_of(mine) == [i for i in range(24) if names[i] != "<unk>"]
    assert f"row {unknown or 0} of its head is MMF's <unk>" in said


def test_other_heads_stay_new_or_in_their_order(tmp_path):
    mmf(tmp_path, rows=4, config=False)
    _, said = loaded_quietly(tmp_path)
    assert "of another shape there, so newly made: head.1.bias [4], head.1.weight [4, 8]" in said
    mmf(tmp_path, rows=3)
    (tmp_path / "classes_mm_imdb.txt").write_text("<unk>\nb\na\n")
    assert rows_of(loaded(tmp_path)) == [0, 1, 2]
    mine, said = loaded_quietly(tmp_path, labels=("a", "b", "c"))
    assert rows_of(mine) == [0, 1, 2]
    assert "its head has no classes named c: its rows are taken in their order" in said


def transformers_file(folder, names, rows=3):
    mine = model()
    state = renamed(mine.state_dict(), "visual_bert.", "cls.", old=False)
    state["cls.weight"] = torch.arange(rows).float()[:, None].expand(-1, 8).clone()
    state["cls.bias"] = torch.arange(rows).float()
    save_file(state, folder / "model.safetensors")
    about = {"model_type": "visual_bert", "num_hidden_layers": 2, "hidden_size": 8}
    about |= {"num_attention_heads": 1, "intermediate_size": 32, "vocab_size": 50}
    about |= {"max_position_embeddings": 16, "visual_embedding_dim": 6}
    about |= {"id2label": {str(i): name for i, name in enumerate(names)}}
    (folder / "config.json").write_text(json.dumps(about))


LABELS = ("entailment", "neutral", "contradiction")


@pytest.mark.parametrize(
    ("names", "rows", "said"),
    [
        (["contradiction", "entailment", "neutral"], [1, 2, 0], "3 of its head's 3 rows are taken"),
        (["CONTRADICTION", "Neutral", "entailment", "other"], [2, 1, 0], "3 of its head's 4 rows"),
        (list(LABELS), [0, 1, 2], ""),
        (["LABEL_0", "LABEL_1", "LABEL_2"], [0, 1, 2], ""),
        (["yes", "neutral", "no"], [0, 1, 2], "no classes named contradiction, entailment: its"),
    ],
)
def test_transformers_classes_are_taken_by_name(tmp_path, names, rows, said):
    transformers_file(tmp_path, names, len(names))
    mine, heard = loaded_quietly(tmp_path / "model.safetensors", labels=LABELS)
    assert mine.head.bias.tolist() == mine.head.weight[:, 0].tolist() == rows
    assert said in heard
    assert bool(heard) == bool(said)


def test_ten_classes_come_in_the_order_of_their_numbers(tmp_path):
    names = [f"class {i}" for i in range(12)]
    transformers_file(tmp_path, names, 12)
    assert class_names(tmp_path) == names
