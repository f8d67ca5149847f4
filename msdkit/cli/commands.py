"""The command line: `msdkit COMMAND …`; without a command, `run`."""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from msdkit import traits
from msdkit.cli.arguments import Configs, Run, Tiny, Views, names, split_arguments
from msdkit.cli.clean import clean
from msdkit.cli.features import app as features_app
from msdkit.cli.guard import OutputLost, Program, guarded, speaking
from msdkit.cli.studies import compare, report, sweep
from msdkit.cli.zoo import app as zoo_app
from msdkit.config.files import YAML
from msdkit.errors import ConfigError, listing, suggest
from msdkit.parallel import is_main

EPILOG = "Docs: README.md. A first run on real data: `make demo`."
app = typer.Typer(
    name="msdkit",
    cls=Program,
    help="Distil a large multimodal teacher into a small student: as a whole, and each modality.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(no_args_is_help=True, help="Build data sets and look at them.")
app.add_typer(data_app, name="data")
app.add_typer(features_app, name="features")
app.add_typer(zoo_app, name="zoo")


def _validation(arguments: list[str], tiny: bool = False) -> Any:
    from msdkit.config.files import load_raw
    from msdkit.config.validation import validate

    return validate(load_raw(*split_arguments(arguments), tiny=tiny))


@app.command()
def run(configs: Configs, tiny: Tiny = False) -> None:
    """Train a config's experiment and evaluate it.

    Continues an interrupted run; a finished one is only shown. Writes the run folder, and into it
    `report.html`.

    Example: `msdkit run configs/emoji_entail/data.yaml configs/methods/msd_saliency.yaml seed=1`
    """
    from msdkit.report import write_report
    from msdkit.runs.runner import run as run_config
    from msdkit.tables import print_run

    results = run_config(_validation(configs, tiny).ready(), tiny=tiny)
    with suppress(OutputLost):  # then the report is made all the same
        print_run(results)
    if is_main():
        folder = Path(results["run_dir"])
        page = write_report([folder], folder / "report.html", tiny=tiny)
        typer.echo(f"report: {page}")


@app.command()
def check(configs: Configs) -> None:
    """Say everything that is wrong with a config.

    Builds no model and reads no data; notes say what is still to be made."""
    found = _validation(configs)
    for note in found.notes:
        typer.echo(f"note: {note}")
    config = found.require()
    student, teacher = config.student["name"], config.teacher
    what = f"{config.dataset['name']}: student {student}"
    if config.distill:
        losses = " + ".join(term["name"] for term in config.distill)
        weighting = config.weighting["name"] if config.weighting else "1 for each view"
        name = next(iter(teacher.values())) if teacher else None
        what += f", teacher {name}, distil by {losses}, weights {weighting}"
    typer.echo(f"ok: {what}; run folder {config.run_dir}")


@app.command()
def cache(configs: Configs, tiny: Tiny = False) -> None:
    """Write the teacher's answers to disk.

    Its logits for every example and view that the config needs."""
    from msdkit.runs.experiment import Experiment

    experiment = Experiment(_validation(configs, tiny).require(), tiny=tiny)
    if experiment.teacher is None:
        raise ConfigError("this config has no teacher, so there is nothing to cache")
    for split in ("train", *experiment.evaluated):
        views = experiment.distiller.teacher_views if split == "train" else []
        wanted = list(dict.fromkeys([*views, *experiment.views]))
        answers = experiment.teacher_answers(split, wanted)
        typer.echo(f"{split}: {len(experiment.raw(split)):,} examples × {', '.join(answers)}")


@app.command()
def evaluate(
    folder: Run,
    split: Annotated[str, typer.Option(help="train, val or test.")] = "test",
    views: Views = None,
) -> None:
    """Evaluate a run's best model, per view.

    Writes the scores and predictions into the run folder."""
    from msdkit.runs import evaluate as evaluation
    from msdkit.runs.folder import read_slices
    from msdkit.tables import print_slices, print_views

    scores = evaluation.evaluate(folder, split, names(views))
    print_views(f"{folder} on {split}", {"student": scores})
    print_slices(f"{folder} on slices of {split}", read_slices(folder, split))


@app.command()
def predict(
    folder: Run,
    input: Annotated[Path, typer.Option("--input", help="JSON lines with the modalities.")],
    views: Views = None,
    output: Annotated[Path | None, typer.Option("--output", help="Default: standard out.")] = None,
) -> None:
    """Predict new examples, given as JSON lines.

    One JSON line each, with the probabilities per view."""
    from msdkit.io.owned import check_replaceable
    from msdkit.runs.evaluate import predict_file

    if output is not None:
        check_replaceable(output, b'"prediction":', "--output")
    lines = predict_file(folder, input, names(views))
    if output is None:
        for line in lines:
            typer.echo(line)
    else:
        from msdkit.io.files import write_text

        write_text(output, "".join(f"{line}\n" for line in lines))
        typer.echo(f"{len(lines)} predictions in {output}")


for _command in (compare, sweep, report, clean):
    app.command()(_command)


@app.command(name="list")
def list_plugins(
    kind: Annotated[
        str | None,
        typer.Argument(help="models, datasets, processors, losses, weightings, maskings, metrics."),
    ] = None,
    name: Annotated[str | None, typer.Argument(help="One plugin, described in full.")] = None,
    plugins: Annotated[
        list[str] | None, typer.Option("--plugin", help="A file or module to import first.")
    ] = None,
) -> None:
    """List plugins, or describe one in full.

    Its parameters with defaults, meaning and source file."""
    from msdkit.cli.catalogue import describe_plugin, list_names
    from msdkit.plugins import load_entry_points, load_plugins

    load_entry_points()
    load_plugins(plugins or [])
    lines = list_names(kind) if name is None else describe_plugin(kind or "", name)
    for line in lines:
        typer.echo(line)


@data_app.command("build")
def data_build(
    name: Annotated[str, typer.Argument(help="A data set, such as `emoji_entail`.")],
    parameters: Annotated[list[str] | None, typer.Argument(metavar="[key=value …]")] = None,
) -> None:
    """Fetch and build a data set."""
    from msdkit.cli.catalogue import dataset_class

    cls, values = dataset_class(name, parameters or [])
    build = traits.build(cls)
    if build is None:
        raise ConfigError(f"dataset '{name}' needs no building")
    typer.echo(f"built: {build(**values)}")


@data_app.command("stats")
def data_stats(
    name: Annotated[str, typer.Argument(help="A data set, such as `emoji_entail`.")],
    parameters: Annotated[list[str] | None, typer.Argument(metavar="[key=value …]")] = None,
    sheet: Annotated[Path, typer.Option("--sheet", help="Contact sheet.")] = Path("contact.png"),
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
) -> None:
    """Counts, labels, lengths and a contact sheet.

    The sheet is a PNG with examples of the test split."""
    from msdkit.cli.catalogue import dataset_class
    from msdkit.datasets.sheet import check_sheet
    from msdkit.datasets.stats import contact_sheet, dataset_stats
    from msdkit.tables import print_stats

    check_sheet(sheet)  # before a data set is fetched and built for it
    cls, values = dataset_class(name, parameters or [])
    stats = dataset_stats(cls, values, ["train", "val", "test"])
    contact_sheet(cls("test", **values), sheet)
    typer.echo(json.dumps(stats, indent=1)) if as_json else print_stats(name, stats)
    typer.echo(f"contact sheet: {sheet}")


def _with_command(given: list[str]) -> list[str]:
    """The arguments with `run` before configs that no command precedes."""
    named = {c.name or getattr(c.callback, "__name__", "") for c in app.registered_commands}
    known = {*named, *(group.name or "" for group in app.registered_groups)}
    if not given or given[0] in known or given[0].startswith("-"):
        return given
    first = Path(given[0])
    if "=" not in given[0] and first.suffix not in YAML and not first.exists():
        raise ConfigError(
            f"'{first}' is neither a command nor a config file. {suggest(given[0], known)}"
            f"Commands: {listing(known)}"
        )
    return ["run", *given]


def main(arguments: list[str] | None = None) -> None:
    """Run the program; mistakes of the user, and what the system denies, end it with one clear
    message and exit code 2."""
    # Waiting threads soon sleep: where others use the cores too, spinning costs several times more
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")
    # Huge pages for large tensors: a training step on a CPU is about a tenth faster
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    with speaking(), guarded():
        try:
            app(_with_command(list(sys.argv[1:] if arguments is None else arguments)))
        except SystemExit as end:
            if not end.code:
                sys.stdout.flush()
            raise
