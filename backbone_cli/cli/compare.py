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
    a: Annotated[str, typer.Argument(help="One model: hub id, local folder or timm name.", show_default=False)],
    b: Annotated[str, typer.Argument(help="The other one; it may be the same.", show_default=False)],
    inputs: Annotated[list[str], typer.Argument(help="Images, folders or .tar files.", show_default=False)],
    dtype_a: Annotated[Dtype, typer.Option(help="What A computes in.")] = Request.dtype,
    dtype_b: Annotated[Dtype, typer.Option(help="What B computes in.")] = Request.dtype,
    revision_a: Annotated[str | None, typer.Option(help="A's revision on the hub.", show_default=False)] = None,
    revision_b: Annotated[str | None, typer.Option(help="B's revision on the hub.", show_default=False)] = None,
    out_indices: options.AnyIndices = None,
    out_features: options.AnyFeatures = None,
    output: Annotated[
        str | None, typer.Option("-o", "--output", help="FILE.png: the table as a heat map.", show_default=False)
    ] = None,
    theme: Annotated[Theme, typer.Option(help="Of the picture.")] = "dark",
    device: options.OneDevice = Request.device,
    image_size: options.ImageSize = None,
    offline: options.Offline = Request.offline,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> int:
    """Compare what two models make of the same images: every stage of A with every stage of B, by linear CKA.

    1 means that both tell the same places apart, 0 that they have nothing in common. Where a stage has one shape in
    both, its numbers are compared, too: the largest and the mean difference, and the cosine of a place's vectors.

    \b
    backbone compare ./parent ./finetuned photos/
    backbone compare resnet50 microsoft/resnet-50 photos/ -o alike.png
    backbone compare facebook/dinov2-small facebook/dinov2-small photo.jpg --dtype-b bfloat16
    """
    from ..view.comparison import POSITIONS, Comparison
    from ..view.seen import Eye, list_photos, see_all

    place = parse_output(output, suffixes=(".png",))
    request = partial(
        Request,
        inputs=tuple(inputs),
        out_indices=tuple(out_indices or ()),
        out_features=tuple(out_features or ()),
        device=device,
        image_size=options.parse_size(image_size),
        offline=offline,
    )
    items = list_photos(inputs, POSITIONS)
    first = Eye(request(model=a, dtype=dtype_a, revision=revision_a), len(items))
    second = Eye(request(model=b, dtype=dtype_b, revision=revision_b), len(items))
    found = Comparison(len(items))
    seen = 0
    for item, one, other in zip(items, see_all(first, items), see_all(second, items), strict=True):
        if isinstance(one, ImageError):
            console.failed(item.source, str(one))
        elif isinstance(other, ImageError):
            console.failed(item.source, str(other))
        else:
            found.add(one.maps, other.maps)
            seen += 1
    if not seen:
        raise ImageError("None of the images could be read.")
    cka = found.cka()
    sides = (side(a, dtype_a, revision_a), side(b, dtype_b, revision_b))
    if as_json:
        same = [asdict(difference) for difference in found.same.values()]
        about = {"a": sides[0] | {"stages": [*found.a]}, "b": sides[1] | {"stages": [*found.b]}}
        said = about | {"images": seen, "places": found.places, "cka": cka.round(6).tolist(), "same": same}
        console.data(json.dumps(said))
    else:
        tell(found, cka, seen, sides)
    if place:
        draw(place, found, cka, seen, sides, theme)
    return 0 if seen == len(items) else 1


Side = dict[str, str]


def side(model: str, dtype: str, revision: str | None) -> Side:
    return {"model": model, "dtype": dtype} | ({"revision": revision} if revision else {})


def tell(found: Comparison, cka: Floats, seen: int, sides: tuple[Side, Side]) -> None:
    console.data(f"A: {' '.join(sides[0].values())}\nB: {' '.join(sides[1].values())}")
    console.data(f"\nLinear CKA over {count(seen)} (rows: A, columns: B)")
    rows = ((stage, *(f"{value:.3f}" for value in line)) for stage, line in zip(found.a, cka, strict=True))
    console.data(table(("", *found.b), rows))
    if found.same:
        console.data("\nNumber by number, where a stage has one shape in both")
        rows = (
            (
                one.stage,
                " x ".join(map(str, one.shape)),
                *(f"{value:.3g}" for value in (one.max, one.mean, one.std)),
                f"{one.cosine:.6f}",
            )
            for one in found.same.values()
        )
        console.data(table(("stage", "shape", "max", "mean", "std of A", "cosine"), rows))
    if found.places < found.channels:
        console.say(
            f"CKA stands on {found.places:,} places for up to {found.channels:,} channels, and leans towards 1 then;"
            " give more images."
        )


def draw(place: Path, found: Comparison, cka: Floats, seen: int, sides: tuple[Side, Side], theme: Theme) -> None:
    from ..view.drawing import THEMES, save_png
    from ..view.matrix import matrix

    words = (" ".join(sides[0].values()), " ".join(sides[1].values()))
    title = f"Linear CKA over {count(seen)}"
    console.say(f"Wrote {save_png(matrix(cka, [*found.a], [*found.b], title, words, THEMES[theme]), place)}.")


def count(images: int) -> str:
    return f"{images:,} image{'s' if images > 1 else ''}"
