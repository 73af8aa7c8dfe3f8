"""What all pictures are drawn with: themes, text that fits its space, cells with sharp edges."""

from __future__ import annotations

import math
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from ..errors import OutputError, reason
from ..output.formats import write_atomically
from .colours import Bytes

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Theme:
    background: Colour
    foreground: Colour
    muted: Colour


THEMES = {
    "dark": Theme(background=(19, 20, 24), foreground=(236, 236, 240), muted=(150, 152, 162)),
    "light": Theme(background=(250, 250, 248), foreground=(28, 29, 34), muted=(104, 106, 116)),
}


def blank_page(size: tuple[int, int], theme: Theme) -> Image.Image:
    return Image.new("RGB", size, theme.background)


def draw_text(
    canvas: ImageDraw.ImageDraw,
    position: tuple[float, float],
    text: str,
    colour: Colour,
    size: int,
    room: float = math.inf,
    right: bool = False,
) -> int:
    """Draw a line of text with its upper left corner at `position`, shortened in the middle if wider than `room`.

    With `right`, it is aligned to the end of the room. Returns its width.
    """
    text = printable(text)
    # Pillow's built-in font, so that pictures look the same everywhere.
    font = ImageFont.load_default(size)
    kept = len(text)
    while (width := math.ceil(canvas.textlength(shortened(text, kept), font))) > room and kept:
        kept = min(kept - 1, int(kept * room / width))
    shown = shortened(text, kept)
    canvas.text((position[0] + (room - width if right else 0), position[1]), shown, colour, font)
    return width


def printable(text: str) -> str:
    """`text` on one line, with control and invalid characters escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shortened(text: str, kept: int) -> str:
    """`text` with `kept` of its characters, and dots in the middle for the rest."""
    if kept >= len(text):
        return text
    front = (kept + 1) // 2
    return f"{text[:front]}...{text[len(text) - (kept - front) :]}" if kept > 0 else ""


def fill_cells(cells: Bytes, size: tuple[int, int]) -> Image.Image:
    """A map's cells (H, W, 3) as a picture of this (width, height) with sharp edges."""
    height, width = cells.shape[:2]
    # Enlarge by whole copies first; averaging then places edges that fall inside a pixel exactly.
    times = max(1, math.ceil(size[0] / width), math.ceil(size[1] / height))
    image = Image.fromarray(cells)
    return image.resize((width * times, height * times), Image.Resampling.NEAREST).resize(size, Image.Resampling.BOX)


def save_png(image: Image.Image, path: Path) -> Path:
    data = BytesIO()
    image.save(data, "PNG", optimize=True)
    return save(data.getvalue(), path)


def save(data: bytes, path: Path) -> Path:
    """Write a file atomically, replacing an existing one."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, lambda file: file.write(data))
    except OSError as error:
        raise OutputError(f"'{path}' can't be written: {reason(error)}.") from error
    return path
