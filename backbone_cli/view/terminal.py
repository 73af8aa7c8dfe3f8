"""Pictures in a terminal: each character is two pixels, the two colours of a half block."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image
from rich.color import Color
from rich.style import Style
from rich.text import Text

from .colours import Bytes, Floats, three_to_rgb
from .drawing import fill_cells, printable, shortened
from .photos import PhotoFeatures

GAP = 2


def preview(photo: PhotoFeatures, components: Sequence[Floats], columns: int, lines: int) -> Text:
    """The photo and each stage's components with titles, as large as fits into these columns and lines."""
    titles = [printable(photo.name), *photo.maps]
    height, width = photo.picture.shape[:2]
    across, size = arrange(len(titles), height / width, columns, lines)
    thumbnail = Image.fromarray(photo.picture).resize(size, Image.Resampling.LANCZOS)
    tiles = [thumbnail, *(fill_cells(three_to_rgb(one), size) for one in components)]
    text = Text(no_wrap=True)
    for start in range(0, len(tiles), across):
        few = slice(start, start + across)
        words = (shortened(title, size[0] - 3) if len(title) > size[0] else title for title in titles[few])
        text.append("".join(word.ljust(size[0] + GAP) for word in words).rstrip() + "\n")
        for line in zip(*(half_blocks(np.asarray(tile)) for tile in tiles[few]), strict=True):
            text.append(Text(" " * GAP).join(line)).append("\n")
    return text


def arrange(count: int, aspect: float, columns: int, lines: int) -> tuple[int, tuple[int, int]]:
    """The number of tiles per row, and their (width, height) in pixels, so that they are as large as possible."""
    best = (1, (2, 2))
    for across in range(1, count + 1):
        rows = math.ceil(count / across)
        width = min((columns - GAP * (across - 1)) // across, int(2 * (lines // rows - 1) / aspect))
        if width > best[1][0]:
            best = across, (width, 2 * max(1, round(width * aspect / 2)))
    return best


def half_blocks(picture: Bytes) -> list[Text]:
    """An even number of pixel rows as half as many lines of text."""
    lines = []
    for upper, lower in zip(picture[::2], picture[1::2], strict=True):
        line = Text()
        for top, bottom in zip(upper.tolist(), lower.tolist(), strict=True):
            line.append("▀", Style(color=Color.from_rgb(*top), bgcolor=Color.from_rgb(*bottom)))
        lines.append(line)
    return lines
