"""Draw the results of `make bench`: `python -m benchmarks.chart bench.json docs/pictures/speed.png`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

BACKGROUND, INK, FAINT = (250, 250, 248), (28, 29, 34), (112, 114, 124)
COLOURS = {"backbone": (176, 42, 106), "transformers": (205, 205, 210), "timm": (160, 176, 196)}
WIDTH, BAR, MARGIN, LABEL, NUMBER = 960, 12, 32, 350, 190
NORMAL, SMALL, LARGE = (ImageFont.load_default(size) for size in (16, 14, 19))

Times = dict[str, tuple[float, float]]
"""Library -> seconds, and the ratio to `backbone`'s time, which comes first."""


def draw(title: str, parts: dict[str, dict[str, Times]], machine: str) -> Image.Image:
    """The jobs of each part, each with its own scale; the bars of peers are followed by their ratios."""
    rows = [times for jobs in parts.values() for times in jobs.values()]
    height = 2 * MARGIN + 60 + 48 * len(parts) + sum(row_height(times) for times in rows)
    image = Image.new("RGB", (WIDTH, height), BACKGROUND)
    canvas = ImageDraw.Draw(image)
    canvas.text((MARGIN, MARGIN - 8), title, INK, LARGE)
    canvas.text((MARGIN, MARGIN + 18), machine, FAINT, SMALL)
    top, left = MARGIN + 52, MARGIN
    for library, colour in COLOURS.items():
        canvas.rectangle((left, top - 6, left + 11, top + 5), colour)
        canvas.text((left + 18, top - 9), library, INK, SMALL)
        left += 130
    for heading, jobs in parts.items():
        canvas.text((MARGIN, top + 20), heading, FAINT, NORMAL)
        top += 48
        for name, times in jobs.items():
            draw_job(canvas, top, name, times)
            top += row_height(times)
    return image


def row_height(times: Times) -> int:
    return 14 + (BAR + 4) * len(times)


def draw_job(canvas: ImageDraw.ImageDraw, top: int, name: str, times: Times) -> None:
    width, longest = WIDTH - 2 * MARGIN - LABEL - NUMBER, max(seconds for seconds, _ in times.values())
    canvas.text((MARGIN, top), name, INK, NORMAL)
    for i, (library, (seconds, ratio)) in enumerate(times.items()):
        left, bar_top = MARGIN + LABEL, top + i * (BAR + 4)
        right = left + max(2, round(width * seconds / longest))
        canvas.rectangle((left, bar_top, right, bar_top + BAR), COLOURS[library])
        label = format_seconds(seconds) + ("" if library == "backbone" else f"   {ratio:.1f}x")
        canvas.text((right + 10, bar_top - 3), label, FAINT, SMALL)


def format_seconds(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def process_times(rows: list[dict]) -> dict[str, Times]:
    """The jobs that are complete processes."""
    jobs = [row for row in rows if "ours_s" in row]
    return {row["job"]: {"backbone": (row["ours_s"], 1.0), row["peer"]: (row["peer_s"], row["ratio"])} for row in jobs}


def forward_times(rows: list[dict]) -> dict[str, Times]:
    """The forward passes of all stages in batches of 8."""
    times = {}
    for row in rows:
        if "ours_ms" in row and ", all, " in row["job"] and row["job"].endswith("batch 8"):
            _, model, _, dtype, _ = row["job"].split(", ")
            peers = [name for name in ("transformers", "timm") if f"{name}_ms" in row]
            peer_times = {name: (row[f"{name}_ms"] / 1000, row[f"{name}_ratio"]) for name in peers}
            times[f"{model}, {dtype}"] = {"backbone": (row["ours_ms"] / 1000, 1.0), **peer_times}
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("measured", type=Path)
    parser.add_argument("picture", type=Path)
    args = parser.parse_args()
    measured = json.loads(args.measured.read_text())
    parts = {
        "Complete processes, from start to exit": process_times(measured["rows"]),
        "Only the forward pass: 224x224 pixels, all stages, batches of 8": forward_times(measured["rows"]),
    }
    image = draw("Time for the same maps", parts, ", ".join(map(str, measured["machine"].values())))
    image.save(args.picture, optimize=True)


if __name__ == "__main__":
    main()
