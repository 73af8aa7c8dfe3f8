"""A heat map of values from 0 to 1, with labelled cells."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from .colours import Floats, ramp
from .drawing import Theme, blank_page, draw_text

TEXT, TITLE, LINE, MARGIN, GAP = 15, 24, 24, 40, 3
CELL = 48


def matrix(
    values: Floats, rows: Sequence[str], columns: Sequence[str], title: str, sides: tuple[str, str], theme: Theme
) -> Image.Image:
    """`rows` and `columns` are labels; `sides` says what the rows and the columns are."""
    font = ImageFont.load_default(TEXT)
    left = round(max(font.getlength(label) for label in rows)) + 16
    wide = max(CELL, round(max(font.getlength(label) for label in columns)) + 16)
    grid = len(columns) * (wide + GAP) - GAP, len(rows) * (CELL + GAP) - GAP
    width = max(2 * MARGIN + left + grid[0], 420)
    top = MARGIN + 5 * LINE
    page = blank_page((width, top + LINE + grid[1] + 3 * LINE + MARGIN), theme)
    canvas = ImageDraw.Draw(page)
    inner = width - 2 * MARGIN
    draw_text(canvas, (MARGIN, MARGIN), title, theme.foreground, TITLE, inner)
    for i, (word, side) in enumerate(zip(("rows", "columns"), sides, strict=True)):
        y = MARGIN + round((1.6 + i) * LINE)
        draw_text(canvas, (MARGIN, y), word, theme.muted, TEXT)
        draw_text(canvas, (MARGIN + 76, y), side, theme.foreground, TEXT, inner - 76)
    first = MARGIN + left, top + LINE
    for j, label in enumerate(columns):
        room = wide - 4
        x = first[0] + j * (wide + GAP)
        draw_text(canvas, (x + (wide - font.getlength(label)) / 2, top), label, theme.muted, TEXT, room)
    for i, label in enumerate(rows):
        y = first[1] + i * (CELL + GAP)
        draw_text(canvas, (MARGIN, y + CELL // 2 - 9), label, theme.muted, TEXT)
        for j in range(len(columns)):
            x = first[0] + j * (wide + GAP)
            colour = tuple(ramp()[round(255 * min(1, max(0, float(values[i, j]))))].tolist())
            canvas.rectangle((x, y, x + wide - 1, y + CELL - 1), fill=colour)
            number = f"{values[i, j]:.2f}"
            foreground = (19, 20, 24) if sum(colour) > 330 else (250, 250, 248)
            draw_text(canvas, (x + (wide - font.getlength(number)) / 2, y + CELL // 2 - 9), number, foreground, TEXT)
    scale = min(grid[0], 200)
    y = first[1] + grid[1] + LINE
    page.paste(Image.fromarray(ramp()[None]).resize((scale, 10), Image.Resampling.BILINEAR), (first[0], y))
    draw_text(canvas, (first[0], y + 14), "0", theme.muted, TEXT)
    draw_text(canvas, (first[0], y + 14), "1", theme.muted, TEXT, scale, right=True)
    return page
