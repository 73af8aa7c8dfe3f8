"""What every picture here is drawn with: grounds and inks, text that fits its place, cells with clean edges."""

from __future__ import annotations

import math
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from ..errors import OutputError, reason
from ..pipeline.formats import write_whole
from .colours import Bytes

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Theme:
    ground: Colour
    ink: Colour
    faint: Colour


THEMES = {
    "dark": Theme(ground=(19, 20, 24), ink=(236, 236, 240), faint=(150, 152, 162)),
    "light": Theme(ground=(250, 250, 248), ink=(28, 29, 34), faint=(104, 106, 116)),
}


def paper(size: tuple[int, int], theme: Theme) -> Image.Image:
    return Image.new("RGB", size, theme.ground)


def draw_text(
    pen: ImageDraw.ImageDraw,
    place: tuple[float, float],
    text: str,
    colour: Colour,
    size: int,
    room: float = math.inf,
    right: bool = False,
) -> int:
    """Write a line whose upper left corner is at `place`, cut in its middle where it is wider than `room`.

    With `right`, it ends where the room ends. Says how wide it came out.
    """
    text = printable(text)
    # The one that pillow brings along, so that pictures look the same everywhere.
    font = ImageFont.load_default(size)
    kept = len(text)
    while (width := math.ceil(pen.textlength(shortened(text, kept), font))) > room and kept:
        kept = min(kept - 1, int(kept * room / width))
    shown = shortened(text, kept)
    pen.text((place[0] + (room - width if right else 0), place[1]), shown, colour, font)
    return width


def printable(text: str) -> str:
    """`text` in one line: control characters, and what is no text, as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shortened(text: str, kept: int) -> str:
    """`text` with so many of its letters, and dots in the middle for the others."""
    if kept >= len(text):
        return text
    front = (kept + 1) // 2
    return f"{text[:front]}...{text[len(text) - (kept - front) :]}" if kept > 0 else ""


def fill_cells(cells: Bytes, size: tuple[int, int]) -> Image.Image:
    """A map's cells (H, W, 3) as a picture of this width and height; their edges stay where they are, and sharp."""
    height, width = cells.shape[:2]
    # Whole copies of each cell first; averaging then cuts an edge that falls inside a pixel where it falls.
    times = max(1, math.ceil(size[0] / width), math.ceil(size[1] / height))
    image = Image.fromarray(cells)
    return image.resize((width * times, height * times), Image.Resampling.NEAREST).resize(size, Image.Resampling.BOX)


def save_png(image: Image.Image, path: Path) -> Path:
    data = BytesIO()
    image.save(data, "PNG", optimize=True)
    return save(data.getvalue(), path)


def save(data: bytes, path: Path) -> Path:
    """Write a file, whole or not at all, in the place of one that may be there."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, lambda file: file.write(data))
    except OSError as error:
        raise OutputError(f"'{path}' can't be written: {reason(error)}.") from error
    return path
