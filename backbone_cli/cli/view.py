"""`backbone view`: pictures of feature maps."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ..errors import ImageError, UsageError, near_miss, refuse_empty
from ..pipeline.request import Dtype, Request
from ..pipeline.units import human
from . import options
from .console import console, table

if TYPE_CHECKING:
    from ..view.seen import Seen

MOST = 64
"""Photos at once; more fit neither on a page nor into memory."""

Theme = Literal["dark", "light"]


def view(
    inputs: Annotated[
        list[str],
        typer.Argument(help="Images, folders or .tar files; or a folder of extracted features.", show_default=False),
    ],
    model: options.Model = None,
    image: Annotated[
        list[str] | None,
        typer.Option(help="Of extracted features, only the image of this name; may be repeated.", show_default=False),
    ] = None,
    out_indices: options.AnyIndices = None,
    out_features: options.AnyFeatures = None,
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            help="FILE.png: all sheets in one picture; FOLDER/: one picture a photo; FILE.html: a page to explore."
            "  [default: a preview in the terminal]",
            show_default=False,
        ),
    ] = None,
    theme: Annotated[
        Theme | None, typer.Option(help="Of the picture (dark by default) or the page (as the system's).")
    ] = None,
    max_size: Annotated[str, typer.Option(help="The most that a page may take: 20MB, 500kB.")] = "20MB",
    device: options.OneDevice = Request.device,
    dtype: Annotated[Dtype, typer.Option(help="What the forward pass computes in.")] = Request.dtype,
    image_size: options.ImageSize = None,
    random_init: options.RandomInit = Request.random_init,
    seed: options.Seed = Request.seed,
    revision: options.Revision = Request.revision,
    offline: options.Offline = Request.offline,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> int:
    """Show what a backbone makes of photos: its stages as components, as heat and as channels.

    A stage's first three principal components are fitted over all photos, so that colours mean the same.

    \b
    backbone view photo.jpg -m microsoft/swin-tiny-patch4-window7-224
    backbone view photo.jpg -m facebook/dinov2-small --out-indices 3,6,9,12 -o sheet.png
    backbone view photos/ -m resnet50 -o explore.html
    backbone view features/ --image a/1 -o sheets/
    """
    from ..pipeline.folder import SETTINGS

    place = parse_output(output)
    limit = parse_bytes(max_size)
    if len(inputs) == 1 and Path(inputs[0], SETTINGS).exists():
        photos, about, strides, failed = from_features(inputs[0], image or [], out_indices or [], out_features or [])
    else:
        if image:
            raise UsageError("--image chooses among extracted features; give their folder, or name the photo itself.")
        photos, about, strides, failed = from_model(
            Request(
                model=options.require_model(model),
                inputs=tuple(inputs),
                out_indices=tuple(out_indices or ()),
                out_features=tuple(out_features or ()),
                device=device,
                dtype=dtype,
                image_size=options.parse_size(image_size),
                random_init=random_init,
                seed=seed,
                revision=revision,
                offline=offline,
            )
        )
    if not photos:
        raise ImageError("None of the images could be read.")
    if place is None:
        show(photos, strides)
    elif place.suffix.lower() == ".html":
        write_page(place, photos, about, strides, theme, limit)
    else:
        write_sheets(place, photos, about, strides, theme or "dark")
    return 1 if failed else 0


Looked = tuple[list["Seen"], str, dict[str, int], int]
"""The photos, of which model they are, its strides, and how many photos could not be read."""


def from_model(request: Request) -> Looked:
    from ..view.seen import Eye, list_photos, see_all

    items = list_photos(request.inputs, MOST)
    eye = Eye(request, len(items))
    photos = []
    for item, seen in zip(items, see_all(eye, items), strict=True):
        if isinstance(seen, ImageError):
            console.failed(item.source, str(seen))
        else:
            photos.append(seen)
    return photos, request.model, eye.strides, len(items) - len(photos)


def from_features(folder: str, images: list[str], out_indices: list[str], out_features: list[str]) -> Looked:
    from ..features import open_features
    from ..stages import choose
    from ..view.seen import see_saved

    features = open_features(folder)
    if unknown := [name for name in images if name not in features]:
        raise UsageError(f"'{folder}' has no image '{unknown[0]}'.{near_miss(unknown[0], features.names)}")
    names = images or features.names
    if len(names) > MOST:
        raise UsageError(f"'{folder}' holds {len(names):,} images, more than can be looked at; choose with --image.")
    all_unless_named = out_indices or ([] if out_features else ["all"])
    stages = [features.stages[i] for i in choose(features.stages, all_unless_named, out_features)]
    strides = {about["name"]: about["stride"] for about in features.settings["stages"]}
    return list(see_saved(features, names, stages)), features.settings["model"], strides, 0


# --- where it goes ----------------------------------------------------------------------------------------------


def parse_output(output: str | None, suffixes: tuple[str, ...] = (".png", ".html", "/")) -> Path | None:
    """Told before anything is computed, where it can't be written. A slash stands for a folder."""
    if output is None:
        return None
    refuse_empty("--output", output)
    path = Path(output)
    if "/" in suffixes and (output.endswith("/") or path.is_dir()):
        return path
    if path.suffix.lower() not in suffixes:
        folder = "; a folder for pictures ends in a slash" if "/" in suffixes else ""
        raise UsageError(f"'{output}' is no {' or '.join(s for s in suffixes if s != '/')} file{folder}.")
    if not path.parent.is_dir():
        raise UsageError(f"There is no folder '{path.parent}' to write '{path.name}' into.")
    return path


def parse_bytes(text: str) -> int:
    """`20MB` -> 20000000."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([kKMG]?)B?", text.strip())
    if not match:
        raise UsageError(f"--max-size is a number of bytes such as 20MB or 500kB, not '{text}'.")
    return int(float(match[1]) * {"": 1, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9}[match[2]])


def write_sheets(place: Path, photos: list[Seen], model: str, strides: dict[str, int], theme: str) -> None:
    from ..view.drawing import THEMES, save_png
    from ..view.sheet import sheets, stacked

    pages = sheets(photos, model, strides, THEMES[theme])
    if place.suffix.lower() == ".png":
        written = [save_png(stacked(pages, THEMES[theme]), place)]
    else:
        written = [save_png(page, place / f"{photo.name}.png") for page, photo in zip(pages, photos, strict=True)]
    for path in written:
        console.say(f"Wrote {path}.")


def write_page(
    place: Path, photos: list[Seen], model: str, strides: dict[str, int], theme: str | None, limit: int
) -> None:
    from ..view.drawing import save
    from ..view.explore import page

    data = page(photos, model, strides, theme or "auto", limit).encode()
    save(data, place)
    console.say(f"Wrote {place} ({human(len(data))}).")


def show(photos: list[Seen], strides: dict[str, int]) -> None:
    """A preview in colour, where the terminal has colours; else a table of the stages."""
    from rich.console import Console

    from ..view.drawing import printable
    from ..view.reduce import principal
    from ..view.terminal import preview

    screen = Console(file=sys.stdout, highlight=False)
    if not screen.is_terminal or screen.no_color or screen.color_system in (None, "standard"):
        for photo in photos:
            height, width = photo.picture.shape[:2]
            console.data(f"{printable(photo.name)}, seen at {height}x{width} pixels")
            console.data(table(("stage", "shape", "stride", "min", "mean", "max", "std"), rows(photo, strides)))
        return
    components = {stage: principal([photo.maps[stage] for photo in photos]) for stage in photos[0].maps}
    columns, lines = shutil.get_terminal_size()
    for i, photo in enumerate(photos):
        screen.print(preview(photo, [components[stage][i] for stage in components], columns, lines - 2), end="")


def rows(photo: Seen, strides: dict[str, int]) -> list[tuple[object, ...]]:
    return [
        (
            stage,
            " x ".join(map(str, one.shape)),
            strides[stage],
            *(f"{round(float(value), 5):.4g}" for value in (one.min(), one.mean(), one.max(), one.std())),
        )
        for stage, one in photo.maps.items()
    ]
