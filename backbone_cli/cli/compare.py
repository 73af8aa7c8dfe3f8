"""`backbone compare`: two models on the same photos, stage by stage."""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ImageError
from ..pipeline.request import Dtype, Request
from . import options
from .console import console, table
from .view import Theme, parse_output

if TYPE_CHECKING:
    from ..view.colours import Floats
    from ..view.comparison import Comparison


def compare(
    a: Annotated[str, typer.Argument(help="One model: Hub id, local folder or timm name.", show_default=False)],
    b: Annotated[str, typer.Argument(help="The other one; it may be the same.", show_default=False)],
    inputs: Annotated[list[str], typer.Argument(help="Images, folders or .tar files.", show_default=False)],
    dtype_a: Annotated[Dtype, typer.Option(help="The dtype of A's forward pass.")] = Request.dtype,
    dtype_b: Annotated[Dtype, typer.Option(help="The dtype of B's forward pass.")] = Request.dtype,
    revision_a: Annotated[str | None, typer.Option(help="A's revision on the Hub.", show_default=False)] = None,
    revision_b: Annotated[str | None, typer.Option(help="B's revision on the Hub.", show_default=False)] = None,
    out_indices: options.AnyIndices = None,
    out_features: options.AnyFeatures = None,
    output: Annotated[
        str | None, typer.Option("-o", "--output", help="FILE.png: the table as a heat map.", show_default=False)
    ] = None,
    theme: Annotated[Theme, typer.Option(help="The picture's theme.")] = "dark",
    device: options.OneDevice = Request.device,
    image_size: options.ImageSize = None,
    offline: options.Offline = Request.offline,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> int:
    """Compare two models on the same images: every stage of A with every stage of B, by linear CKA.

    1 means that both distinguish the same positions, 0 that they have nothing in common. Stages that have the same
    shape in both are also compared value by value: the largest and mean difference, and the mean cosine similarity.

    \b
    backbone compare ./parent ./finetuned photos/
    backbone compare resnet50 microsoft/resnet-50 photos/ -o alike.png
    backbone compare facebook/dinov2-small facebook/dinov2-small photo.jpg --dtype-b bfloat16
    """
    from ..view.comparison import MAX_POSITIONS, Comparison
    from ..view.photos import FeatureViewer, list_photos, view_all

    path = parse_output(output, suffixes=(".png",))
    request = partial(
        Request,
        inputs=tuple(inputs),
        out_indices=tuple(out_indices or ()),
        out_features=tuple(out_features or ()),
        device=device,
        image_size=options.parse_size(image_size),
        offline=offline,
    )
    items = list_photos(inputs, MAX_POSITIONS)
    first = FeatureViewer(request(model=a, dtype=dtype_a, revision=revision_a), len(items))
    second = FeatureViewer(request(model=b, dtype=dtype_b, revision=revision_b), len(items))
    comparison = Comparison(len(items))
    compared = 0
    for item, one, other in zip(items, view_all(first, items), view_all(second, items), strict=True):
        if isinstance(one, ImageError):
            console.failed(item.source, str(one))
        elif isinstance(other, ImageError):
            console.failed(item.source, str(other))
        else:
            comparison.add(one.maps, other.maps)
            compared += 1
    if not compared:
        raise ImageError("None of the images could be read.")
    cka = comparison.cka()
    sides = (side(a, dtype_a, revision_a), side(b, dtype_b, revision_b))
    if as_json:
        same = [asdict(difference) for difference in comparison.same.values()]
        report: dict[str, object] = {
            "a": sides[0] | {"stages": [*comparison.a]},
            "b": sides[1] | {"stages": [*comparison.b]},
        }
        report |= {"images": compared, "positions": comparison.positions, "cka": cka.round(6).tolist(), "same": same}
        console.data(json.dumps(report))
    else:
        show(comparison, cka, compared, sides)
    if path:
        draw(path, comparison, cka, compared, sides, theme)
    return 0 if compared == len(items) else 1


Side = dict[str, str]


def side(model: str, dtype: str, revision: str | None) -> Side:
    return {"model": model, "dtype": dtype} | ({"revision": revision} if revision else {})


def show(comparison: Comparison, cka: Floats, images: int, sides: tuple[Side, Side]) -> None:
    console.data(f"A: {' '.join(sides[0].values())}\nB: {' '.join(sides[1].values())}")
    console.data(f"\nLinear CKA over {count(images)} (rows: A, columns: B)")
    rows = ((stage, *(f"{value:.3f}" for value in line)) for stage, line in zip(comparison.a, cka, strict=True))
    console.data(table(("", *comparison.b), rows))
    if comparison.same:
        console.data("\nValue by value, for stages with the same shape in both")
        rows = (
            (
                one.stage,
                " x ".join(map(str, one.shape)),
                *(f"{value:.3g}" for value in (one.max, one.mean, one.std)),
                f"{one.cosine:.6f}",
            )
            for one in comparison.same.values()
        )
        console.data(table(("stage", "shape", "max", "mean", "std of A", "cosine"), rows))
    if comparison.positions < comparison.channels:
        console.info(
            f"CKA is based on {comparison.positions:,} positions for up to {comparison.channels:,} channels,"
            " which biases it towards 1; give more images."
        )


def draw(path: Path, comparison: Comparison, cka: Floats, images: int, sides: tuple[Side, Side], theme: Theme) -> None:
    from ..view.drawing import THEMES, save_png
    from ..view.matrix import matrix

    words = (" ".join(sides[0].values()), " ".join(sides[1].values()))
    title = f"Linear CKA over {count(images)}"
    console.info(f"Wrote {save_png(matrix(cka, [*comparison.a], [*comparison.b], title, words, THEMES[theme]), path)}.")


def count(images: int) -> str:
    return f"{images:,} image{'s' if images > 1 else ''}"
