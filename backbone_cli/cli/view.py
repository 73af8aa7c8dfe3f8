"""`backbone view`: pictures of feature maps."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ..errors import ImageError, UsageError, did_you_mean, reject_empty
from ..pipeline.request import Request
from ..units import format_bytes
from . import options
from .console import console, table

if TYPE_CHECKING:
    from ..view.photos import PhotoFeatures

MAX_PHOTOS = 64
"""More fit neither on a page nor into memory."""

Theme = Literal["dark", "light"]


def view(
    inputs: Annotated[
        list[str],
        typer.Argument(help="Images, folders or .tar files; or a folder of extracted features.", show_default=False),
    ],
    model: options.Model = None,
    image: Annotated[
        list[str] | None,
        typer.Option(help="Only this image of a features folder; may be repeated.", show_default=False),
    ] = None,
    out_indices: options.AnyIndices = None,
    out_features: options.AnyFeatures = None,
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            help="FILE.png: all sheets in one picture; FOLDER/: one picture per photo; FILE.html: a page to explore."
            "  [default: a preview in the terminal]",
            show_default=False,
        ),
    ] = None,
    theme: Annotated[
        Theme | None, typer.Option(help="The theme of the picture (default: dark) or the page (default: the system's).")
    ] = None,
    max_size: Annotated[str, typer.Option(help="The maximum size of a page: 20MB, 500kB.")] = "20MB",
    device: options.OneDevice = Request.device,
    dtype: options.Dtype = Request.dtype,
    image_size: options.ImageSize = None,
    random_init: options.RandomInit = Request.random_init,
    seed: options.Seed = Request.seed,
    revision: options.Revision = Request.revision,
    offline: options.Offline = Request.offline,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> int:
    """Show the feature maps of photos: each stage as principal components, activation and channels.

    A stage's first three principal components are fitted over all photos, so their colours are comparable.

    \b
    backbone view photo.jpg -m microsoft/swin-tiny-patch4-window7-224
    backbone view photo.jpg -m facebook/dinov2-small --out-indices 3,6,9,12 -o sheet.png
    backbone view photos/ -m resnet50 -o explore.html
    backbone view features/ --image a/1 -o sheets/
    """
    from ..output.folder import SETTINGS

    path = parse_output(output)
    limit = parse_bytes(max_size)
    if len(inputs) == 1 and Path(inputs[0], SETTINGS).exists():
        photos, model_name, strides, failed = from_features(
            inputs[0], image or [], out_indices or [], out_features or []
        )
    else:
        if image:
            raise UsageError(
                "--image chooses from a features folder; give that folder, or the photo itself as an input."
            )
        photos, model_name, strides, failed = from_model(
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
    if path is None:
        show(photos, strides)
    elif path.suffix.lower() == ".html":
        write_page(path, photos, model_name, strides, theme, limit)
    else:
        write_sheets(path, photos, model_name, strides, theme or "dark")
    return 1 if failed else 0


LoadedPhotos = tuple[list["PhotoFeatures"], str, dict[str, int], int]
"""The photos, the model's name, its strides, and the number of photos that could not be read."""


def from_model(request: Request) -> LoadedPhotos:
    from ..view.photos import FeatureViewer, list_photos, view_all

    items = list_photos(request.inputs, MAX_PHOTOS)
    viewer = FeatureViewer(request, len(items))
    photos = []
    for item, photo in zip(items, view_all(viewer, items), strict=True):
        if isinstance(photo, ImageError):
            console.failed(item.source, str(photo))
        else:
            photos.append(photo)
    return photos, request.model, viewer.strides, len(items) - len(photos)


def from_features(folder: str, images: list[str], out_indices: list[str], out_features: list[str]) -> LoadedPhotos:
    from ..output.reader import open_features
    from ..stages import choose_stages
    from ..view.photos import load_saved_photos

    features = open_features(folder)
    if unknown := [name for name in images if name not in features]:
        raise UsageError(f"'{folder}' has no image '{unknown[0]}'.{did_you_mean(unknown[0], features.names)}")
    names = images or features.names
    if len(names) > MAX_PHOTOS:
        raise UsageError(
            f"'{folder}' holds {len(names):,} images, but at most {MAX_PHOTOS} can be viewed at once;"
            " choose some with --image."
        )
    indices = out_indices or ([] if out_features else ["all"])
    stages = [features.stages[i] for i in choose_stages(features.stages, indices, out_features)]
    strides = {stage["name"]: stage["stride"] for stage in features.settings["stages"]}
    return list(load_saved_photos(features, names, stages)), features.settings["model"], strides, 0


# --- output ----------------------------------------------------------------------------------------------


def parse_output(output: str | None, suffixes: tuple[str, ...] = (".png", ".html", "/")) -> Path | None:
    """The path to write to, checked before anything is computed. The suffix "/" stands for a folder."""
    if output is None:
        return None
    reject_empty("--output", output)
    path = Path(output)
    if "/" in suffixes and (output.endswith("/") or path.is_dir()):
        return path
    if path.suffix.lower() not in suffixes:
        folder = "; end the name of a folder with a slash" if "/" in suffixes else ""
        raise UsageError(f"'{output}' is not a {' or '.join(s for s in suffixes if s != '/')} file{folder}.")
    if not path.parent.is_dir():
        raise UsageError(f"The folder '{path.parent}' for '{path.name}' does not exist.")
    return path


def parse_bytes(text: str) -> int:
    """`20MB` -> 20000000."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([kKMG]?)B?", text.strip())
    if not match:
        raise UsageError(f"--max-size must be a number of bytes such as 20MB or 500kB, not '{text}'.")
    return int(float(match[1]) * {"": 1, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9}[match[2]])


def write_sheets(path: Path, photos: list[PhotoFeatures], model: str, strides: dict[str, int], theme: str) -> None:
    from ..view.drawing import THEMES, save_png
    from ..view.sheet import sheets, stack_pages

    pages = sheets(photos, model, strides, THEMES[theme])
    if path.suffix.lower() == ".png":
        written = [save_png(stack_pages(pages, THEMES[theme]), path)]
    else:
        written = [save_png(page, path / f"{photo.name}.png") for page, photo in zip(pages, photos, strict=True)]
    for written_path in written:
        console.info(f"Wrote {written_path}.")


def write_page(
    path: Path, photos: list[PhotoFeatures], model: str, strides: dict[str, int], theme: str | None, limit: int
) -> None:
    from ..view.drawing import save
    from ..view.explore import page

    data = page(photos, model, strides, theme or "auto", limit).encode()
    save(data, path)
    console.info(f"Wrote {path} ({format_bytes(len(data))}).")


def show(photos: list[PhotoFeatures], strides: dict[str, int]) -> None:
    """A preview in colour if the terminal has colours; else a table of the stages."""
    from rich.console import Console

    from ..view.drawing import printable
    from ..view.reduce import principal
    from ..view.terminal import preview

    screen = Console(file=sys.stdout, highlight=False)
    if not screen.is_terminal or screen.no_color or screen.color_system in (None, "standard"):
        for photo in photos:
            height, width = photo.picture.shape[:2]
            console.data(f"{printable(photo.name)}, resized to {height}x{width} pixels")
            console.data(table(("stage", "shape", "stride", "min", "mean", "max", "std"), rows(photo, strides)))
        return
    components = {stage: principal([photo.maps[stage] for photo in photos]) for stage in photos[0].maps}
    columns, lines = shutil.get_terminal_size()
    for i, photo in enumerate(photos):
        screen.print(preview(photo, [components[stage][i] for stage in components], columns, lines - 2), end="")


def rows(photo: PhotoFeatures, strides: dict[str, int]) -> list[tuple[object, ...]]:
    return [
        (
            stage,
            " x ".join(map(str, one.shape)),
            strides[stage],
            *(f"{round(float(value), 5):.4g}" for value in (one.min(), one.mean(), one.max(), one.std())),
        )
        for stage, one in photo.maps.items()
    ]
