"""`msdkit features`: region features of pictures, taken over from others or newly computed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

app = typer.Typer(no_args_is_help=True, help="Fill feature stores: take over or compute features.")

To = Annotated[Path, typer.Option("--to", help="Folder of the new store.")]
ShardText = Annotated[
    str | None,
    typer.Option("--shard", help="This part of the store alone, such as 2/8; the last joins all."),
]
DType = Annotated[Literal["fp16", "fp32"], typer.Option(help="How numbers are kept.")]


@app.command("import")
def import_(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="An LMDB, a folder or a TSV.")],
    to: To,
    format: Annotated[
        str | None, typer.Option(help="mmf_lmdb, npy, npz, tsv, uniter_lmdb; default: what SRC is.")
    ] = None,
    dtype: DType = "fp16",
    max_regions: Annotated[
        int | None, typer.Option(min=1, help="Keep the first regions of each picture.")
    ] = None,
    min_score: Annotated[
        float | None, typer.Option(help="Keep surer regions; UNITER's `all` databases: 0.2.")
    ] = None,
    min_regions: Annotated[
        int | None, typer.Option(min=1, help="Of these, keep at least so many: 10.")
    ] = None,
    shard: ShardText = None,
) -> None:
    """Take over region features that others published.

    MMF's LMDB, .npy files with _info.npy, MILVLG's .npz files, UNITER's LMDB, bottom-up attention's
    TSV. Goes on after an interruption, and verifies the store at its end."""
    from msdkit.features.importing import import_features
    from msdkit.store.shards import Shard

    part = Shard.parse(shard) if shard else None
    imported = import_features(
        source,
        to,
        format=format,
        dtype=dtype,
        max_regions=max_regions,
        min_score=min_score,
        min_regions=min_regions,
        shard=part,
    )
    typer.echo(f"{to}{f', shard {shard}' if shard else ''}: {imported}")


@app.command("extract")
def extract(
    images: Annotated[Path, typer.Argument(metavar="IMAGES", help="A folder of pictures.")],
    to: To,
    backbone: Annotated[
        str, typer.Option(help="The detector, or a timm model for a grid of features.")
    ] = "fasterrcnn_resnet50_fpn_v2",
    weights: Annotated[
        str | None, typer.Option(help="A local file; `random` to try things.")
    ] = None,
    device: Annotated[str, typer.Option(help="Such as cpu, cuda or cuda:1.")] = "cpu",
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures at once.")] = 8,
    size: Annotated[
        int | None, typer.Option(min=1, help="Side in pixels: 800, or 224 for a grid.")
    ] = None,
    max_regions: Annotated[int, typer.Option(min=1, help="The detector's, per picture.")] = 36,
    min_score: Annotated[float, typer.Option(help="The detector's; at least 10 are kept.")] = 0.2,
    dtype: DType = "fp16",
    shard: ShardText = None,
) -> None:
    """Compute features of pictures: a detector's boxes, or a grid.

    Goes on after an interruption. Keys are the pictures' paths without suffix."""
    from msdkit.features.extraction import DETECTOR, build_extractor, extract_features
    from msdkit.store.shards import Shard

    part = Shard.parse(shard) if shard else None
    detection = {"max_regions": max_regions, "min_score": min_score}
    extractor = build_extractor(
        backbone, weights, device, size, batch_size, **(detection if backbone == DETECTOR else {})
    )
    found = extract_features(images, to, extractor, batch_size=batch_size, dtype=dtype, shard=part)
    typer.echo(f"{to}{f', shard {shard}' if shard else ''}: {found}")
