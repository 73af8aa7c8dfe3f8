"""A picture of what `make bench` measured: `python -m benchmarks.chart bench.json docs/pictures/speed.png`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

GROUND, INK, FAINT, BAR, PEER = (250, 250, 248), (28, 29, 34), (112, 114, 124), (176, 42, 106), (205, 205, 210)
WIDTH, ROW, MARGIN, LABEL, NUMBER = 960, 44, 32, 330, 210


def draw(rows: list[dict], title: str) -> Image.Image:
    """Two bars a job, ours and the peer's, each job on its own scale; the ratio beside them."""
    height = MARGIN * 2 + 40 + ROW * len(rows)
    page = Image.new("RGB", (WIDTH, height), GROUND)
    pen = ImageDraw.Draw(page)
    normal, small = ImageFont.load_default(16), ImageFont.load_default(14)
    pen.text((MARGIN, MARGIN - 8), title, INK, ImageFont.load_default(19))
    room = WIDTH - 2 * MARGIN - LABEL - NUMBER
    for i, row in enumerate(rows):
        top = MARGIN + 40 + i * ROW
        ours, peer = (row.get(f"{who}_s") or row[f"{who}_ms"] / 1000 for who in ("ours", "peer"))
        pen.text((MARGIN, top + 6), row["job"], INK, normal)
        for offset, seconds, colour in ((2, ours, BAR), (16, peer, PEER)):
            length = max(2, round(room * seconds / max(ours, peer)))
            pen.rectangle((MARGIN + LABEL, top + offset, MARGIN + LABEL + length, top + offset + 11), colour)
        said = f"{row['ratio']:.1f}x   {written(ours)} / {written(peer)}"
        pen.text((WIDTH - MARGIN - NUMBER + 14, top + 6), said, FAINT, small)
    return page


def written(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("measured", type=Path)
    parser.add_argument("picture", type=Path)
    args = parser.parse_args()
    rows = [row for row in json.loads(args.measured.read_text())["rows"] if not row["job"].startswith("forward")]
    draw(rows, "Whole processes: backbone above, transformers below").save(args.picture, optimize=True)


if __name__ == "__main__":
    main()
