"""One sheet a photo: what the model saw, and each stage as components, as heat over the photo, and as channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from .colours import heat, three
from .reduce import principal, stretch, strongest

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Seen:
    """One photo as the model saw it, and what it made of it."""

    name: str
    picture: Bytes
    """(H, W, 3), after the processor's resizing and cropping."""
    maps: Mapping[str, Floats]
    """Stage -> (C, H, W)."""


@dataclass(frozen=True)
class Theme:
    ground: Colour
    ink: Colour
    faint: Colour


THEMES = {
    "dark": Theme(ground=(19, 20, 24), ink=(236, 236, 240), faint=(150, 152, 162)),
    "light": Theme(ground=(250, 250, 248), ink=(28, 29, 34), faint=(112, 114, 124)),
}


@dataclass(frozen=True)
class Layout:
    """All lengths in pixels; everything else follows from these."""

    panel: int = 232
    gap: int = 16
    margin: int = 32
    text: int = 16
    tiles: int = 4
    theme: Theme = field(default_factory=lambda: THEMES["dark"])

    @property
    def tile(self) -> int:
        return (self.panel - (self.tiles - 1) * 2) // self.tiles


def sheets(photos: Sequence[Seen], model: str, strides: Mapping[str, int], layout: Layout) -> list[Image.Image]:
    """A sheet for each photo; the components of a stage are fitted over all of them, so colours mean the same."""
    stages = list(photos[0].maps)
    components = {stage: principal([photo.maps[stage] for photo in photos]) for stage in stages}
    return [
        sheet(photo, model, strides, {stage: components[stage][i] for stage in stages}, layout)
        for i, photo in enumerate(photos)
    ]


def sheet(
    photo: Seen, model: str, strides: Mapping[str, int], components: Mapping[str, Floats], layout: Layout
) -> Image.Image:
    step = layout.panel + layout.gap
    line = round(layout.text * 1.5)
    head = layout.margin + 2 * line + layout.gap
    row = step + line
    width = 2 * layout.margin + 4 * step - layout.gap
    height = head + line + row * len(photo.maps) - layout.gap + layout.margin
    page = Image.new("RGB", (width, height), layout.theme.ground)
    draw = ImageDraw.Draw(page)
    large, normal = font(round(layout.text * 1.3)), font(layout.text)
    draw.text((layout.margin, layout.margin - 6), model, layout.theme.ink, large)
    seen = f"{photo.name}, seen at {photo.picture.shape[0]} x {photo.picture.shape[1]}"
    draw.text((layout.margin, layout.margin + line - 2), seen, layout.theme.faint, normal)

    def place(image: Image.Image, column: int, top: int) -> None:
        page.paste(image, (layout.margin + column * step, top))

    for column, title in enumerate(("input", "three components", "mean activation", "strongest channels")):
        draw.text((layout.margin + column * step, head - 4), title, layout.theme.faint, normal)
    top = head + line
    place(fit(Image.fromarray(photo.picture), layout), 0, top)
    for stage, feature_map in photo.maps.items():
        label = f"{stage}   {' x '.join(map(str, feature_map.shape))}   stride {strides[stage]}"
        place(fit(Image.fromarray(three(components[stage])), layout, cells=True), 1, top)
        place(over(photo.picture, feature_map, layout), 2, top)
        place(channels(feature_map, layout), 3, top)
        draw.text((layout.margin + step, top + layout.panel + 4), label, layout.theme.ink, normal)
        top += row
    return page


def fit(image: Image.Image, layout: Layout, cells: bool = False) -> Image.Image:
    """The image as large as the panel allows, centred in it; cells of a map keep their edges."""
    scale = layout.panel / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    scaled = image.resize(size, Image.Resampling.NEAREST if cells else Image.Resampling.LANCZOS)
    panel = Image.new("RGB", (layout.panel, layout.panel), layout.theme.ground)
    panel.paste(scaled, ((layout.panel - size[0]) // 2, (layout.panel - size[1]) // 2))
    return panel


def over(picture: Bytes, feature_map: Floats, layout: Layout) -> Image.Image:
    """The mean over channels as heat, with the photo's lightness shining through."""
    warmth = Image.fromarray(heat(stretch(feature_map.mean(0))))
    warmth = warmth.resize((picture.shape[1], picture.shape[0]), Image.Resampling.NEAREST)
    grey = Image.fromarray(picture).convert("L").convert("RGB")
    return fit(Image.blend(warmth, grey, 0.3), layout)


def channels(feature_map: Floats, layout: Layout) -> Image.Image:
    """Small tiles of the channels that vary most."""
    panel = Image.new("RGB", (layout.panel, layout.panel), layout.theme.ground)
    for i, channel in enumerate(strongest(feature_map, layout.tiles**2)):
        tile = Image.fromarray(heat(stretch(feature_map[channel])))
        scale = layout.tile / max(tile.size)
        size = (max(1, round(tile.width * scale)), max(1, round(tile.height * scale)))
        row, column = divmod(i, layout.tiles)
        corner = (column * (layout.tile + 2), row * (layout.tile + 2))
        centred = (corner[0] + (layout.tile - size[0]) // 2, corner[1] + (layout.tile - size[1]) // 2)
        panel.paste(tile.resize(size, Image.Resampling.NEAREST), centred)
    return panel


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The one that pillow brings along, so that sheets look the same everywhere."""
    return ImageFont.load_default(size)
