"""Miniatures of published data sets, written as their releases and as MMF lay them out.

Each writer fills a folder and gives the parameters that a data set reads it with; all layouts of a
data set hold the same examples.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SPLITS = ("train", "dev", "test")
EACH = 16  # examples of a split
NOUNS = ("dog", "cat", "horse", "boat")


def write_lines(path: Path, rows: Iterable[Mapping[str, Any] | str]) -> None:
    """A `.jsonl` file; texts among the rows are written as they are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def write_picture(path: Path, seed: int) -> None:
    """A small picture of one colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (12, 10), (seed * 37 % 256, seed * 91 % 256, 80)).save(path)


def meme_rows(start: int, count: int = EACH) -> list[dict[str, Any]]:
    """Lines as the challenge writes them; of four memes, the first two share their words and
    differ in their label."""
    rows = []
    for i in range(count):
        words = i - 1 if i % 4 == 1 else i
        text = f"look at this {NOUNS[i // 4 % 4]} number {words}"
        number = start + i
        rows.append(
            {
                "id": number,
                "img": f"img/{number:05d}.png",
                "label": i % 2 ^ i // 4 % 2,
                "text": text,
            }
        )
    return rows


MEME_FILES = {
    "train": 1000,
    "dev": 2000,
    "test": 3000,
    "dev_seen": 2000,
    "dev_unseen": 4000,
    "test_seen": 3000,
    "test_unseen": 5000,
}


def write_hateful_memes(folder: Path, layout: str = "challenge") -> dict[str, Any]:
    """layout: "challenge" (test_unseen has no labels), "mmf" (ids are texts of five digits)."""
    mmf = layout == "mmf"
    notes, images = ("defaults/annotations", "defaults/images") if mmf else (".", ".")
    for name, start in MEME_FILES.items():
        rows = meme_rows(start)
        for i, row in enumerate(rows):
            write_picture(folder / images / row["img"], i)
            if mmf:
                row["id"] = f"{row['id']:05d}"
            if name == "test_unseen":
                del row["label"]
        write_lines(folder / notes / f"{name}.jsonl", rows)
    return {"folder": str(folder)}


def film_rows(split: str, count: int = EACH) -> dict[str, dict[str, Any]]:
    """{id: what its json holds}; one film of each split is nothing but news."""
    start = 100 * (1 + SPLITS.index(split))
    kinds = [["Drama"], ["Comedy", "Romance"], ["Film-Noir", "Drama"], ["Sci-Fi"]]
    films = {}
    for i in range(count):
        plots = [f"a {NOUNS[i % 4]} goes home", f"once more , a {NOUNS[i % 4]} goes home alone"]
        genres = ["News"] if i == count - 1 else kinds[i % 4] + ["Adult"] * (i == 0)
        films[f"{start + i:07d}"] = {"title": f"film {i}", "plot": plots, "genres": genres}
    return films


def write_mmimdb(folder: Path, layout: str = "release") -> dict[str, Any]:
    """layout: "release", "mmf", "hdf5" (without the films whose genres are all rare)."""
    films = {split: film_rows(split) for split in SPLITS}
    if layout == "hdf5":
        write_film_archive(folder, films)
        return {"folder": str(folder), "image": "vgg"}
    posters = folder / ("dataset" if layout == "release" else "defaults/images/mmimdb/dataset")
    for number in (number for found in films.values() for number in found):
        write_picture(posters / f"{number}.jpeg", int(number))
    if layout == "release":
        split = {name: list(found) for name, found in films.items()}
        (folder / "split.json").write_text(json.dumps(split), encoding="utf-8")
        for number, film in (pair for found in films.values() for pair in found.items()):
            path = folder / "dataset" / f"{number}.json"
            path.write_text(json.dumps(film), encoding="utf-8")
        return {"folder": str(folder)}
    for name, found in films.items():
        rows = [{"id": number, **film} for number, film in found.items()]
        write_lines(folder / "defaults/annotations" / f"{name}.jsonl", rows)
    return {"folder": str(folder)}


COMMON = ["Drama", "Comedy", "Romance", "Film-Noir", "Sci-Fi"]  # the most frequent genre first


def write_film_archive(folder: Path, films: Mapping[str, Mapping[str, Any]]) -> None:
    """`multimodal_imdb.hdf5` and `metadata.npy`, as the authors' script makes them."""
    import h5py

    folder.mkdir(parents=True, exist_ok=True)
    kept = {
        split: [(n, f) for n, f in found.items() if set(f["genres"]) & set(COMMON)]
        for split, found in films.items()
    }
    rows = [pair for split in SPLITS for pair in kept[split]]
    plots = [film["plot"][0].split() for _, film in rows]
    words = ["_UNK_", *sorted({word for plot in plots for word in plot})]
    with h5py.File(folder / "multimodal_imdb.hdf5", "w") as file:
        genres = [[int(g in film["genres"]) for g in COMMON] for _, film in rows]
        file["genres"] = np.array(genres, np.int32)
        file["genres"].attrs["target_names"] = json.dumps(COMMON)
        file["imdb_ids"] = np.array([number for number, _ in rows], "S7")
        numbers = h5py.special_dtype(vlen=np.dtype("int32"))
        sequences = file.create_dataset("sequences", (len(rows),), dtype=numbers)
        for i, plot in enumerate(plots):
            sequences[i] = [words.index(word) for word in plot]
        features = np.arange(len(rows), dtype=np.float32)[:, None] + np.zeros(4096, np.float32)
        file["vgg_features"] = features
        file.attrs["split"] = _fuel_splits({split: len(kept[split]) for split in SPLITS})
    table: Any = {"ix_to_word": dict(enumerate(words)), "vocab_size": len(words)}
    np.save(folder / "metadata.npy", table)


def _fuel_splits(counts: Mapping[str, int]) -> np.ndarray:
    """The records by which the library fuel marks the rows of splits."""
    fields = [("split", "S5"), ("source", "S12"), ("start", "i8"), ("stop", "i8")]
    fields += [("available", "?"), ("comment", "S1")]
    records, start = [], 0
    for split, count in counts.items():
        for source in ("imdb_ids", "genres", "sequences"):
            records.append((split.encode(), source.encode(), start, start + count, True, b"."))
        start += count
    return np.array(records, fields)


RELATIONS = ("entailment", "neutral", "contradiction", "-")


def entailment_rows(split: str, layout: str, count: int = EACH) -> list[dict[str, Any]]:
    """Four sentences a photograph; annotators disagree on the last (2020's file has only three)."""
    rows = []
    for i in range(count):
        number = str(10_000 * (1 + SPLITS.index(split)) + i // 4)
        row = {
            "annotator_labels": [RELATIONS[i % 4]],
            "captionID": f"{number}.jpg#0",
            "gold_label": RELATIONS[i % 4],
            "pairID": f"{number}.jpg#0r{i % 4}{RELATIONS[i % 4][0]}",
            "sentence1": "An animal.",
            "sentence2": f"There is a {NOUNS[i % 4]} in photograph {i // 4}.",
        }
        image = {"Flickr30K_ID": number} if layout == "2020" else {"Flikr30kID": f"{number}.jpg"}
        rows.append({**image, **row})
    return rows if layout != "2020" else [row for row in rows if row["gold_label"] != "-"]


def write_snli_ve(folder: Path, layout: str = "2018") -> dict[str, Any]:
    """layout: "2018", "2020" (in `data/`, other ids of photographs), "mmf"."""
    places = {"2018": ("", ""), "2020": ("data", "data"), "mmf": ("imdbs", "defaults/images")}
    notes, images = places[layout]
    for split in SPLITS:
        rows = entailment_rows(split, layout)
        write_lines(folder / notes / f"snli_ve_{split}.jsonl", rows)
        for row in rows:
            name = row["captionID"].partition("#")[0]
            write_picture(folder / images / "flickr30k-images" / name, int(name[:-4]))
    return {"folder": str(folder)}


VQA_SUBSETS = ("train2014", "val2014", "test2015", "test-dev2015")
VQA_ANSWERS = {"yes/no": ("yes", "no"), "number": ("two", "10"), "other": ("dog", "the cat's")}


def vqa_rows(subset: str, count: int = EACH) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """(question, annotation) pairs as the official files hold them: of ten people, 6, 3 and 1 agree
    (the last with nobody)."""
    start = 1000 * (1 + VQA_SUBSETS.index(subset))
    rows = []
    for i in range(count):
        kind = list(VQA_ANSWERS)[i % 3]
        usual, other = VQA_ANSWERS[kind][:: 1 if i % 2 else -1]
        given = [usual] * 6 + [other] * 3 + [f"odd {start + i}"]
        question = {
            "image_id": start + i // 2,
            "question": f"What about {NOUNS[i % 4]} {i}?",
            "question_id": 1000 * (start + i // 2) + i % 2,
        }
        annotation = {
            "question_type": "what",
            "multiple_choice_answer": usual,
            "answers": [
                {"answer": answer, "answer_confidence": "yes", "answer_id": n}
                for n, answer in enumerate(given, start=1)
            ],
            "image_id": question["image_id"],
            "answer_type": kind,
            "question_id": question["question_id"],
        }
        rows.append((question, annotation))
    return rows


def write_vqa2(folder: Path, layout: str = "official") -> dict[str, Any]:
    """layout: "official" (annotations in another order than the questions), "pythia", "mmf"."""
    if layout == "pythia":
        words = ["10", "2", "cat's", "dog", "no", "yes"]  # in the order that Pythia sorts them to
        write_lines(folder / "answers_vqa.txt", ["<unk>", *words])
    for subset in VQA_SUBSETS:
        rows, part = vqa_rows(subset), subset.replace("-dev", "")
        for question, _ in rows:
            number = question["image_id"]
            write_picture(folder / part / f"COCO_{part}_{number:012d}.jpg", number)
        labelled = not subset.startswith("test")
        if layout != "official":
            place = folder / {"mmf": "defaults/annotations", "pythia": "imdb"}[layout]
            place.mkdir(parents=True, exist_ok=True)
            imdb = mmf_imdb if layout == "mmf" else pythia_imdb
            np.save(place / f"imdb_{subset}.npy", np.array(imdb(subset, labelled), dtype=object))
            continue
        head = {"info": {"version": "2.0"}, "data_subtype": subset}
        asked = {**head, "questions": [question for question, _ in rows]}
        answered = {**head, "annotations": [annotation for _, annotation in reversed(rows)]}
        path = folder / f"v2_OpenEnded_mscoco_{subset}_questions.json"
        path.write_text(json.dumps(asked), encoding="utf-8")
        if labelled:
            path = folder / f"v2_mscoco_{subset}_annotations.json"
            path.write_text(json.dumps(answered), encoding="utf-8")
    return {"folder": str(folder), "min_answers": 2}


def mmf_imdb(subset: str, labelled: bool) -> list[dict[str, Any]]:
    """A header, then rows with the answers under the name that MMF's database hands them on by."""
    header = {"version": 1, "dataset_name": "vqa2", "has_answer": labelled}
    return [header, *imdb_rows(subset, labelled, lambda given: {"answers": given})]


def pythia_imdb(subset: str, labelled: bool) -> list[dict[str, Any]]:
    """As `build_vqa_2.0_imdb.py` writes it: answers twice, all of them as they were given, and
    those of them that stand in the vocabulary word for word, or <unk>."""
    words = {"10", "2", "cat's", "dog", "no", "yes"}

    def both(given: list[str]) -> dict[str, list[str]]:
        valid = [answer for answer in given if answer in words]
        return {"all_answers": given, "valid_answers": valid or ["<unk>"]}

    header = {"create_time": "2018-07-26 10:00", "dataset_name": "vqa", "version": 1}
    header |= {"has_answer": labelled, "has_gt_layout": False}
    return [header, *imdb_rows(subset, labelled, both)]


def imdb_rows(
    subset: str, labelled: bool, answers: Callable[[list[str]], dict[str, Any]]
) -> list[dict[str, Any]]:
    """The questions of a subset, with what becomes of the ten answers to each."""
    rows = []
    for question, annotation in vqa_rows(subset):
        name = f"COCO_{subset.replace('-dev', '')}_{question['image_id']:012d}"
        row = {
            "image_name": name,
            "image_id": question["image_id"],
            "question_id": question["question_id"],
            "feature_path": f"{name}.npy",
            "question_str": question["question"],
            "question_tokens": question["question"].lower().strip("?").split(),
        }
        given = [answer["answer"] for answer in annotation["answers"]]
        rows.append({**row, **(answers(given) if labelled else {})})
    return rows
