"""A picture of what `make bench` measured: `python -m benchmarks.chart bench.json docs/pictures/speed.png`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

GROUND, INK, FAINT = (250, 250, 248), (28, 29, 34), (112, 114, 124)
COLOURS = {"backbone": (176, 42, 106), "transformers": (205, 205, 210), "timm": (160, 176, 196)}
WIDTH, BAR, MARGIN, LABEL, NUMBER = 960, 12, 32, 350, 190
NORMAL, SMALL, LARGE = (ImageFont.load_default(size) for size in (16, 14, 19))

Times = dict[str, tuple[float, float]]
"""Who -> seconds, and how many times ours that is, pair by pair; ours first."""


def draw(title: str, parts: dict[str, dict[str, Times]], machine: str) -> Image.Image:
    """For each part its jobs, each on a scale of its own; behind the peers' bars their ratios."""
    rows = [times for jobs in parts.values() for times in jobs.values()]
    height = 2 * MARGIN + 60 + 48 * len(parts) + sum(row_height(times) for times in rows)
    page = Image.new("RGB", (WIDTH, height), GROUND)
    pen = ImageDraw.Draw(page)
    pen.text((MARGIN, MARGIN - 8), title, INK, LARGE)
    pen.text((MARGIN, MARGIN + 18), machine, FAINT, SMALL)
    top, left = MARGIN + 52, MARGIN
    for who, colour in COLOURS.items():
        pen.rectangle((left, top - 6, left + 11, top + 5), colour)
        pen.text((left + 18, top - 9), who, INK, SMALL)
        left += 130
    for heading, jobs in parts.items():
        pen.text((MARGIN, top + 20), heading, FAINT, NORMAL)
        top += 48
        for name, times in jobs.items():
            draw_job(pen, top, name, times)
            top += row_height(times)
    return page


def row_height(times: Times) -> int:
    return 14 + (BAR + 4) * len(times)


def draw_job(pen: ImageDraw.ImageDraw, top: int, name: str, times: Times) -> None:
    room, longest = WIDTH - 2 * MARGIN - LABEL - NUMBER, max(seconds for seconds, _ in times.values())
    pen.text((MARGIN, top), name, INK, NORMAL)
    for i, (who, (seconds, ratio)) in enumerate(times.items()):
        left, level = MARGIN + LABEL, top + i * (BAR + 4)
        right = left + max(2, round(room * seconds / longest))
        pen.rectangle((left, level, right, level + BAR), COLOURS[who])
        said = written(seconds) if who == "backbone" else f"{written(seconds)}   {ratio:.1f}x"
        pen.text((right + 10, level - 3), said, FAINT, SMALL)


def written(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def whole(rows: list[dict]) -> dict[str, Times]:
    """The jobs that are whole processes."""
    jobs = [row for row in rows if "ours_s" in row]
    return {row["job"]: {"backbone": (row["ours_s"], 1.0), row["peer"]: (row["peer_s"], row["ratio"])} for row in jobs}


def forward(rows: list[dict]) -> dict[str, Times]:
    """Forward passes of all stages, in batches of 8."""
    found = {}
    for row in rows:
        if "ours_ms" in row and ", all, " in row["job"] and row["job"].endswith("batch 8"):
            _, model, _, dtype, _ = row["job"].split(", ")
            peers = [who for who in ("transformers", "timm") if f"{who}_ms" in row]
            them = {who: (row[f"{who}_ms"] / 1000, row[f"{who}_ratio"]) for who in peers}
            found[f"{model}, {dtype}"] = {"backbone": (row["ours_ms"] / 1000, 1.0), **them}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("measured", type=Path)
    parser.add_argument("picture", type=Path)
    args = parser.parse_args()
    measured = json.loads(args.measured.read_text())
    parts = {
        "Whole processes, from start to exit": whole(measured["rows"]),
        "The forward pass alone: an image of 224x224, all stages, batches of 8": forward(measured["rows"]),
    }
    picture = draw("Time for the same maps", parts, ", ".join(map(str, measured["machine"].values())))
    picture.save(args.picture, optimize=True)


if __name__ == "__main__":
    main()
