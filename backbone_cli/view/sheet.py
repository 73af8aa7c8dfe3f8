"""One sheet per photo: what the model sees, and each stage as components, activation over the photo, and channels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from .colours import Bytes, Floats, heat, ramp, three_to_rgb
from .drawing import Theme, blank_page, draw_text, fill_cells
from .photos import PhotoFeatures
from .reduce import activation_strength, normalize_range, principal, strongest_channels


@dataclass(frozen=True)
class SheetLayout:
    """All lengths are in pixels; everything else follows from them."""

    panel: tuple[int, int] = (224, 304)
    """The maximum (width, height) of a picture."""
    gap: int = 16
    margin: int = 40
    line: int = 24
    text: int = 15
    title: int = 24
    tiles: int = 4
    """Rows and columns of channels in the last panel."""
    rows: int = 7
    """Stages per column; more stages take several columns."""

    def fit(self, photo: Bytes) -> tuple[int, int]:
        """Width and height of every picture of this photo."""
        height, width = photo.shape[:2]
        scale = min(self.panel[0] / width, self.panel[1] / height)
        return max(1, round(width * scale)), max(1, round(height * scale))


def sheets(
    photos: Sequence[PhotoFeatures],
    model: str,
    strides: Mapping[str, int],
    theme: Theme,
    layout: SheetLayout | None = None,
) -> list[Image.Image]:
    """A sheet for each photo; components are fitted over all photos, so their colours are comparable."""
    stages = list(photos[0].maps)
    components = {stage: principal([photo.maps[stage] for photo in photos]) for stage in stages}
    fitted = f"fitted over {len(photos)} photos" if len(photos) > 1 else "fitted over this photo"
    return [
        Sheet(photo, strides, {stage: components[stage][i] for stage in stages}, theme, layout or SheetLayout()).draw(
            model, fitted
        )
        for i, photo in enumerate(photos)
    ]


@dataclass
class Sheet:
    photo: PhotoFeatures
    strides: Mapping[str, int]
    components: Mapping[str, Floats]
    theme: Theme
    layout: SheetLayout

    def draw(self, model: str, fitted: str) -> Image.Image:
        look, count = self.layout, len(self.photo.maps)
        size = look.fit(self.photo.picture)
        columns = math.ceil(count / look.rows)
        rows = math.ceil(count / columns)
        # A stage's three pictures are close together; columns are separated by wider gaps.
        left, block, apart = max(size[0], 200), 3 * size[0] + 2 * look.gap, 2 * look.gap
        top = look.margin + round(3.4 * look.line)
        first = top + round(1.4 * look.line)
        row = look.line + size[1] + look.gap
        width = 2 * look.margin + left + columns * (apart + block)
        height = first + max(rows * row - look.gap, look.line + size[1] + look.line * 5) + look.margin
        page = blank_page((width, height), self.theme)
        canvas = ImageDraw.Draw(page)
        inner = width - 2 * look.margin
        draw_text(canvas, (look.margin, look.margin), model, self.theme.foreground, look.title, inner)
        subtitle = f"{self.photo.name}, resized to {self.photo.picture.shape[0]} x {self.photo.picture.shape[1]} pixels"
        draw_text(
            canvas, (look.margin, look.margin + round(1.5 * look.line)), subtitle, self.theme.muted, look.text, inner
        )

        draw_text(canvas, (look.margin, top), "input", self.theme.muted, look.text)
        page.paste(
            Image.fromarray(self.photo.picture).resize(size, Image.Resampling.LANCZOS), (look.margin, first + look.line)
        )
        self.legend(page, canvas, (look.margin, first + look.line + size[1] + look.gap), left, fitted)
        for i, (stage, feature_map) in enumerate(self.photo.maps.items()):
            column, below = divmod(i, rows)
            x = look.margin + left + apart + column * (block + apart)
            y = first + below * row
            if below == 0:
                for j, title in enumerate(("components", "activation", "strongest channels")):
                    draw_text(canvas, (x + j * (size[0] + look.gap), top), title, self.theme.muted, look.text, size[0])
            used = draw_text(canvas, (x, y), stage, self.theme.foreground, look.text, block // 2)
            caption = f"{' x '.join(map(str, feature_map.shape))}, stride {self.strides[stage]}"
            draw_text(canvas, (x + used + 12, y), caption, self.theme.muted, look.text, block - used - 12)
            for j, picture in enumerate(self.pictures(stage, feature_map, size)):
                page.paste(picture, (x + j * (size[0] + look.gap), y + look.line))
        return page

    def pictures(self, stage: str, feature_map: Floats, size: tuple[int, int]) -> tuple[Image.Image, ...]:
        return (
            fill_cells(three_to_rgb(self.components[stage]), size),
            blend_activation(self.photo.picture, feature_map, size),
            self.channels(feature_map, size),
        )

    def channels(self, feature_map: Floats, size: tuple[int, int]) -> Image.Image:
        """Small tiles of the channels that vary most."""
        across = min(self.layout.tiles, math.ceil(math.sqrt(len(feature_map))))
        between = 4
        tile = tuple((side - (across - 1) * between) // across for side in size)
        panel = blank_page(size, self.theme)
        for i, channel in enumerate(strongest_channels(feature_map, across**2)):
            row, column = divmod(i, across)
            picture = fill_cells(heat(normalize_range(feature_map[channel])), (max(1, tile[0]), max(1, tile[1])))
            panel.paste(picture, (column * (tile[0] + between), row * (tile[1] + between)))
        return panel

    def legend(
        self, page: Image.Image, canvas: ImageDraw.ImageDraw, corner: tuple[int, int], width: int, fitted: str
    ) -> None:
        look, (x, y) = self.layout, corner
        page.paste(Image.fromarray(ramp()[None]).resize((width, 10), Image.Resampling.BILINEAR), (x, y))
        draw_text(canvas, (x, y + 14), "low", self.theme.muted, look.text)
        draw_text(canvas, (x, y + 14), "high", self.theme.muted, look.text, width, right=True)
        lines = ("Components are the first", "three principal ones,", f"{fitted}.")
        for i, line in enumerate(lines):
            draw_text(canvas, (x, y + 14 + round(look.line * (1.5 + 0.85 * i))), line, self.theme.muted, look.text - 1)


def blend_activation(picture: Bytes, feature_map: Floats, size: tuple[int, int]) -> Image.Image:
    """The activation as heat, blended with the photo in grey."""
    activation = fill_cells(heat(normalize_range(activation_strength(feature_map))), size)
    grey = Image.fromarray(picture).convert("L").convert("RGB").resize(size, Image.Resampling.LANCZOS)
    return Image.blend(activation, grey, 0.3)


def stack_pages(pages: Sequence[Image.Image], theme: Theme) -> Image.Image:
    """Several sheets as one picture, below each other."""
    height = sum(page.height for page in pages)
    whole = blank_page((max(page.width for page in pages), height), theme)
    y = 0
    for page in pages:
        whole.paste(page, (0, y))
        y += page.height
    return whole
