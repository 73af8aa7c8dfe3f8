"""A page to explore feature maps in: one file that holds everything and asks for nothing.

The features are inside, a byte a number: the channels that vary most, and for the likeness of patches their vectors,
scaled to length one. Where the page would grow too large, fewer channels are kept, and the vectors are turned onto
their leading axes, of which as many are kept. How far that moves a likeness is measured, and the page says so.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import UsageError
from ..pipeline.units import human
from .colours import Bytes, Floats, ramp, three
from .reduce import principal, strength, stretch, strongest
from .seen import Seen

# How many numbers a patch may keep; the first that fits is taken.
WIDTHS = (1 << 30, 1024, 512, 256, 128, 64, 32, 16)
SAMPLE = 512
"""Patches between which errors of likeness are measured."""
FITTED = 8192
"""Patches over which axes are fitted, at most."""


def page(photos: Sequence[Seen], model: str, strides: Mapping[str, int], theme: str, limit: int) -> str:
    """The page's text, of no more than `limit` bytes. `theme` is dark, light, or auto for the system's."""
    parts = {name: read(name) for name in ("page.html", "style.css", "script.js")}
    pictures = [about_photo(photo) for photo in photos]
    fixed = sum(map(len, parts.values())) + sum(len(str(about)) for about in pictures)
    width = choose_width(photos, limit - fixed)
    stages = [
        about_stage(name, [photo.maps[name] for photo in photos], strides[name], width) for name in photos[0].maps
    ]
    data = {
        "model": model,
        "photos": pictures,
        "stages": stages,
        "ramp": packed(ramp()),
        "facts": tell(stages),
    }
    inside = {
        "theme": theme,
        "title": escape(f"{model}: feature maps"),
        "style": parts["style.css"],
        "script": parts["script.js"],
        # Nothing in it can end the element that it stands in.
        "data": json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"),
    }
    return re.sub(r"{{(\w+)}}", lambda match: inside[match[1]], parts["page.html"])


def read(name: str) -> str:
    return (resources.files(__package__) / "page" / name).read_text(encoding="utf-8")


def choose_width(photos: Sequence[Seen], room: int) -> int:
    """How many numbers a patch can keep so that all photos and stages fit into so many bytes."""
    shapes = [one.shape for photo in photos for one in photo.maps.values()]

    def needed(width: int) -> float:
        # Its channels, its vector, three bytes of colour and one of heat; in base64. And some words a channel.
        patches = sum(h * w * (2 * min(c, width) + 4) for c, h, w in shapes)
        return patches * 4 / 3 + sum(60 * min(c, width) + 400 for c, _, _ in shapes)

    for width in WIDTHS:
        if needed(width) <= room:
            return width
    raise UsageError(
        f"A page of these photos and stages takes at least {human(needed(WIDTHS[-1]))};"
        " choose fewer, or a larger --max-size."
    )


def about_photo(photo: Seen) -> dict[str, Any]:
    data = BytesIO()
    Image.fromarray(photo.picture).save(data, "JPEG", quality=90)
    source = "data:image/jpeg;base64," + b64encode(data.getvalue()).decode()
    return {"name": photo.name, "size": photo.picture.shape[:2], "src": source}


def about_stage(name: str, maps: Sequence[Floats], stride: int, width: int) -> dict[str, Any]:
    """What the page needs to know of one stage, in all photos."""
    grids = [one.shape[1:] for one in maps]
    ends = np.cumsum([h * w for h, w in grids])[:-1]
    patches = np.concatenate([one.reshape(len(one), -1).T for one in maps])
    channels = patches.shape[1]

    vectors, scales, error = quantised_vectors(patches, min(channels, width))
    kept = strongest(patches.T[:, :, None], min(channels, width))
    low, high = np.percentile(patches[:, kept], (1, 99), axis=0)
    values = ((patches[:, kept] - low) / np.maximum(high - low, 1e-12)).clip(0, 1)
    warmth = stretch(np.concatenate([strength(one).ravel() for one in maps]))
    colours = [three(one) for one in principal(maps)]
    each = zip(
        grids,
        np.split(vectors, ends),
        np.split(as_bytes(values), ends),
        np.split(as_bytes(warmth), ends),
        colours,
        strict=True,
    )
    return {
        "name": name,
        "channels": channels,
        "stride": stride,
        "dims": len(scales),
        "scales": [float(f"{scale:.6g}") for scale in scales],
        "error": round(error, 4),
        "kept": kept,
        "low": [float(f"{value:.5g}") for value in low],
        "high": [float(f"{value:.5g}") for value in high],
        "maps": [
            {
                "grid": grid,
                "vectors": packed(vector),
                "channels": packed(value.T),
                "activation": packed(warm),
                "components": packed(colour),
            }
            for grid, vector, value, warm, colour in each
        ],
    }


def quantised_vectors(patches: Floats, dims: int) -> tuple[NDArray[np.int8], Floats, float]:
    """Patches (N, C) as vectors of `dims` bytes, a scale for each of those, and the largest error of likeness seen."""
    units = unit(patches)
    if dims < units.shape[1]:
        step = -(-len(units) // FITTED)
        few = units[::step]
        turned = units @ np.linalg.eigh(few.T @ few)[1][:, : -dims - 1 : -1]
    else:
        turned = units
    scales = np.maximum(np.abs(turned).max(0), 1e-12) / 127
    numbers = np.rint(turned / scales).astype(np.int8)
    sample = np.random.default_rng(0).permutation(len(units))[:SAMPLE]
    restored = unit(numbers[sample] * scales)
    error = np.abs(restored @ restored.T - units[sample] @ units[sample].T).max()
    return numbers, scales, float(error)


def unit(rows: Floats) -> Floats:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def as_bytes(values: Floats) -> Bytes:
    return (values * 255 + 0.5).astype(np.uint8)


def packed(array: NDArray[Any]) -> str:
    return b64encode(np.ascontiguousarray(array).tobytes()).decode()


def tell(stages: Sequence[Mapping[str, Any]]) -> str:
    """How exact the page is."""
    worst = max(stages, key=lambda stage: stage["error"])
    cut = [stage["name"] for stage in stages if stage["dims"] < stage["channels"]]
    reduced = f" To save space, {', '.join(cut)} keep their leading directions only." if cut else ""
    return (
        "Features are stored in 8 bits, which moves a similarity by at most"
        f" {max(worst['error'], 0.0005):.3f} ({worst['name']}, measured among {SAMPLE} patches).{reduced}"
    )
