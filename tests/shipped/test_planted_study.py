"""The planted study: its configs, its measures against second formulas, and the whole path."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import toy

from msdkit.config.files import load_raw
from msdkit.config.validation import validate
from msdkit.runs import runner as runs
from msdkit.studies.study import compare

STUDY = toy.ROOT / "projects/planted"
SHARED = toy.ROOT / "configs/methods"
MIXTURES = sorted(STUDY.glob("*.yaml"))
METHODS = ("no_distillation", "kd", "msd_population", "msd_saliency", "msd_learned")


@pytest.fixture
def part(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module of the project by its name."""
    monkeypatch.syspath_prepend(str(toy.ROOT))
    return lambda name: importlib.import_module(f"projects.planted.{name}")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, fake_packages: Path) -> Iterator[Path]:
    """A tiny study of one mixture; its models read patches, which no encoder computes."""
    folder = tmp_path_factory.mktemp("planted")
    reads = {"text": {"name": "words"}, "image": {"name": "patches", "size": 32, "patch": 16}}
    small = {"student": {"hidden": 16, "heads": 2, "processors": reads}}
    small |= {"dataset": {"train_size": 48, "eval_size": 48}}
    base, taught = STUDY / "balanced.yaml", STUDY / "teachers/teacher_balanced.yaml"
    data = toy.write(folder / "even.yaml", {**small, "base": str(base), "teacher": "taught.yaml"})
    teacher = toy.write(folder / "taught.yaml", {**small, "base": str(taught)})
    methods = [str(SHARED / f"{name}.yaml") for name in ("kd", "msd_learned", "msd_saliency")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MSDKIT_CACHE", str(fake_packages))
        patch.chdir(folder)
        patch.setattr(runs, "environment", lambda *_: {})
        runs.run(validate(load_raw([teacher], tiny=True)).ready(), tiny=True)
        compare(methods, datasets=[str(data)], out=folder / "study", tiny=True)
        yield folder / "study"


def test_every_mixture_has_a_teacher_of_its_own_proportions() -> None:
    assert [path.stem for path in MIXTURES] == ["balanced", "mostly_image", "mostly_text", "noisy"]
    for path in MIXTURES:
        mine = validate(load_raw([path, SHARED / "kd.yaml"])).require()
        teacher = Path(mine.teacher["config"])  # type: ignore[index]
        theirs = validate(load_raw([teacher])).require()
        for key in ("proportions", "noise"):
            assert mine.dataset.get(key) == theirs.dataset.get(key)
        assert sum(mine.dataset["proportions"].values()) == pytest.approx(1)
        assert mine.train.held_out == 0.1


def test_the_readme_shows_the_mixtures_and_a_command_that_names_them() -> None:
    text = (STUDY / "README.md").read_text(encoding="utf-8")
    for path in MIXTURES:
        dataset = validate(load_raw([path])).require().dataset
        shares = " | ".join(f"{x:.2f}"[1:] for x in dataset["proportions"].values())
        noise = f"{dataset['noise']:.2f}"[1:] if "noise" in dataset else "0"
        assert f"| `{path.stem}` | {shares} | {noise} |" in text
    assert f"--methods {','.join(METHODS)},control_shuffle" in text


def test_area_is_the_share_of_pairs_in_order(part: Any) -> None:
    draw = np.random.default_rng(0)
    values = torch.from_numpy(draw.integers(-30, 30, 60).astype("float64") * 10)  # ties
    positive = torch.from_numpy(draw.random(60) < 0.4)
    first, second = values[positive][:, None], values[~positive][None]
    pairs = (first > second).double() + (first == second).double() / 2
    found = part("truth").area(values, positive)
    assert found["auc"] == pytest.approx(float(pairs.mean()))
    assert 0.02 < found["se"] < 0.15
    perfect = part("truth").area(positive.double(), positive)
    assert perfect == {"auc": 1.0, "se": 0.0}
    assert part("truth").area(torch.zeros(60), positive)["auc"] == 0.5


def made_up() -> dict[str, Any]:
    """Two mixtures whose gains on what a modality decides grow with its share."""

    def one(text: float, gains: tuple[float, float]) -> dict[str, Any]:
        image = 0.9 - text
        flat = {"text_decides": [0.5, 0.5], "image_decides": [0.5, 0.5]}
        better = {name: [0.5 + g, 0.5 + g] for name, g in zip(flat, gains, strict=True)}
        views = {"text": [0.4, 0.4], "image": [0.4, 0.4]}
        mine = {"multimodal": [0.7, 0.8], **views}
        row = {"metric": "accuracy", "mean": 0.1, "low": 0.0, "high": 0.2, "established": False}
        auc = {"auc": 0.9, "se": 0.01}
        score = {"masking": "drop", "by": "removal", "score": "kl", "map": None, **auc}
        weights = {**auc, "by_source": {"text": {"multimodal": 1.0, "text": 0.8, "image": 0.2}}}
        return {
            "proportions": {"text": text, "image": image, "both": 0.1, "neither": 0.0},
            "baseline": "kd",
            "best": {"multimodal": 1.0, "text": 0.6, "image": 0.6},
            "scores": {
                "teacher": {view: [0.9] for view in mine},
                "kd": {"multimodal": [0.6, 0.7], **views},
                "msd": mine,
                "control_shuffle": {"multimodal": [0.6, 0.75], **views},
            },
            "slices": {"kd": flat, "msd": better, "control_shuffle": flat},
            "differences": [{"method": "msd", "view": v, **row} for v in mine],
            "saliency": [score],
            "weights": {"msd": [weights, weights]},
        }

    mixtures = {"even": one(0.45, (0.1, 0.1)), "text": one(0.7, (0.2, 0.05))}
    return {"mixtures": mixtures}


def test_gains_that_grow_with_the_share_follow_it(part: Any) -> None:
    measures, found = part("measures"), made_up()["mixtures"]
    follows = measures.follows(found)
    assert set(follows) == {"msd", "control_shuffle"}
    gains = [
        (name, m, round(share, 2), round(g, 2)) for name, m, share, g in follows["msd"]["points"]
    ]
    assert gains == [
        ("even", "text", 0.45, 0.1),
        ("even", "image", 0.45, 0.1),
        ("text", "text", 0.7, 0.2),
        ("text", "image", 0.2, 0.05),
    ]
    assert follows["msd"]["rank_correlation"] == pytest.approx(1)
    assert follows["control_shuffle"]["rank_correlation"] is None
    assert measures.gain(found["even"], "msd") == pytest.approx(0.1)
    mean, sd = measures.choice(found["even"], "msd")
    assert (mean, sd) == (pytest.approx(0.075), pytest.approx(0.05 / 2**0.5))


def test_tables_and_figures_show_what_was_found(part: Any) -> None:
    found = made_up()
    found["follows"] = part("measures").follows(found["mixtures"])
    text = {title: rows for title, _, rows in part("analysis").tables(found)}
    assert ["even", "best possible", "1.000", "0.600", "0.600"] in next(iter(text.values()))
    flat = [cell for rows in text.values() for row in rows for cell in row]
    for cell in (
        "0.900 ± 0.010",
        "0.900, 0.900",
        "0.80 / 0.20",
        "+0.100 [+0.000, +0.200]",
        "+1.00",
    ):
        assert cell in flat
    drawn = {chart.name: chart.panels for chart in part("figures").charts(found)}
    assert list(drawn) == ["auc", "gain", "follows"]
    auc = drawn["auc"][""]["data"]
    assert [trace["name"] for trace in auc] == ["even", "text"]
    assert [round(y) for y in auc[0]["y"]] == [0, 1, 1]  # a score's row, and that of two seeds
    layout = drawn["auc"][""]["layout"]
    assert layout["yaxis"]["ticktext"] == ["drop, kl", "weights of msd"]
    (msd,) = drawn["gain"]["text"]["data"]
    assert msd["marker"]["color"] == ["#ffffff", "#ffffff"]  # not established


def test_the_whole_path_on_a_tiny_study(
    study: Path, part: Any, tmp_path: Path, capsys: Any
) -> None:
    part("analysis").main([str(study), "-o", str(tmp_path), "--tiny", "--no-figures"])
    assert capsys.readouterr().out.strip() == str(tmp_path / "results.md")
    found = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    (one,) = found["mixtures"].values()
    assert one["best"]["text"] == pytest.approx(0.55 + 0.45 / 3)
    keys = {(r["masking"], r["by"], r["score"], r["map"]) for r in one["saliency"]}
    assert len(keys) == len(one["saliency"]) == 4 * 3 * (5 + 3)
    assert all(0 <= r["auc"] <= 1 for r in one["saliency"])
    by = {(r["masking"], r["by"], r["score"], r["map"]): r["auc"] for r in one["saliency"]}
    # two modalities: what removal of one says is what fidelity of the other says
    assert by["drop", "removal", "kl", None] == pytest.approx(by["drop", "fidelity", "kl", None])
    assert by["drop", "removal", "kl", "softmax"] == pytest.approx(
        by["drop", "removal", "kl", None]
    )
    assert set(one["weights"]) == {"msd_saliency", "msd_learned"}
    (weights,) = one["weights"]["msd_saliency"]
    assert weights["auc"] == pytest.approx(by["drop", "removal", "kl", "tanh"])
    assert set(weights["by_source"]["text"]) == {"multimodal", "text", "image"}
    assert {row["view"] for row in one["differences"]} == {"multimodal", "text", "image"}
    text = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert text.count("\n## ") == 6


def test_what_an_analysis_refuses(part: Any, tmp_path: Path, capsys: Any) -> None:
    with pytest.raises(SystemExit) as stopped:
        part("analysis").main([str(tmp_path), "-o", str(tmp_path / "out")])
    assert stopped.value.code == 2
    assert "study.json: expected the results of `msdkit compare`" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
