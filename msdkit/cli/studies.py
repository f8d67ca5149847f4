"""`msdkit compare`, `sweep` and `report`: what is said of several runs."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from msdkit.cli.arguments import Configs, Tiny, names, split_arguments
from msdkit.cli.guard import OutputLost


def compare(
    configs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CONFIG…] [key=value …]",
            help="Methods: each YAML file is one, over the bases. Then overrides for all of them.",
        ),
    ] = None,
    methods: Annotated[
        str | None,
        typer.Option(help="More methods, comma-separated: `kd,msd_saliency`, files, patterns."),
    ] = None,
    datasets: Annotated[
        str | None,
        typer.Option(help="A matrix: `emoji_entail,emoji_match`, files, patterns ('a/*.yaml')."),
    ] = None,
    base: Annotated[
        list[str] | None, typer.Option("--base", help="Config merged beneath each; repeatable.")
    ] = None,
    seeds: Annotated[int, typer.Option(help="Runs of each method: seeds 0, 1, ….")] = 1,
    jobs: Annotated[
        int, typer.Option(help="Processes that share the runs (a tuning has one).")
    ] = 1,
    trials: Annotated[
        int, typer.Option(help="Tune each method first, on val, by a sweep of so many trials.")
    ] = 0,
    baseline: Annotated[
        str | None, typer.Option(help="The method that others are compared with.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="The study's folder.")] = Path("runs/compare"),
    tiny: Tiny = False,
) -> None:
    """Compare methods over seeds, on one or several data sets.

    Trains what is missing, teachers too; the same command goes on after a stop, and several of
    them, also on other machines with the same disk, share the work. Differences from the baseline
    come with 95 % intervals and permutation tests.

    Example: `msdkit compare --methods kd,msd_saliency --datasets emoji_entail,emoji_vqa --seeds 5`
    """
    from msdkit.report import write_report
    from msdkit.studies.study import compare as run_study
    from msdkit.tables import print_study

    files, overrides = split_arguments(configs or [])
    found = run_study(
        files,
        base or [],
        overrides,
        methods=names(methods) or [],
        datasets=names(datasets) or [],
        seeds=seeds,
        jobs=jobs,
        trials=trials,
        baseline=baseline,
        out=out,
        tiny=tiny,
    )
    with suppress(OutputLost):  # then the report is made all the same
        for study in found.values():
            print_study(study)
        typer.echo(f"study: {out}")
    page = write_report([out], out / "report.html", tiny=tiny)
    typer.echo(f"report: {page}")


def sweep(
    configs: Configs,
    trials: Annotated[int, typer.Option(help="Settings to try, over all processes.")] = 20,
    out: Annotated[
        Path | None, typer.Option("--out", help="The sweep's folder; by default in runs/sweep.")
    ] = None,
    tiny: Tiny = False,
) -> None:
    """Find the best values for keys of a config.

    Tries what its `sweep` lists, on validation data alone; what was begun goes on. Further
    processes that run the same command share the work.

    Example: `msdkit sweep configs/mmimdb/data.yaml configs/methods/kd.yaml configs/sweeps/lr.yaml`
    """
    from msdkit.studies.sweep import print_sweep
    from msdkit.studies.sweep import sweep as run_sweep

    files, overrides = split_arguments(configs)
    print_sweep(run_sweep(files, overrides, trials=trials, out=out, tiny=tiny))


def report(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN_OR_STUDY…",
            help="Folders of runs, of studies (`compare`) and of matrices of studies.",
        ),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="The HTML file.")] = Path("report.html"),
    figures: Annotated[
        Path | None, typer.Option(help="A folder for each figure as SVG and PNG, for papers.")
    ] = None,
    title: Annotated[str | None, typer.Option(help="The page's title.")] = None,
    tiny: Annotated[bool, typer.Option("--tiny", help="The runs were made with --tiny.")] = False,
    trust: Annotated[
        bool, typer.Option("--trust", help="Import the plugins that the folders name.")
    ] = False,
) -> None:
    """Write what runs came to as one page.

    A single HTML file with figures, tables and the examples, which needs no network. Plugins that
    the folders name are code: without --trust they are not run, and what needs them is left out.

    Example: `msdkit report runs/compare -o report.html --figures figures`
    """
    from msdkit.report import write_report

    page = write_report(folders, out, title=title, figures=figures, tiny=tiny, trust=trust)
    typer.echo(f"report: {page}")
    if figures is not None:
        typer.echo(f"figures: {figures}")
