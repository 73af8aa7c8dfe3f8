"""A page to explore feature maps: a single HTML file that needs nothing else.

It contains the features with one byte per number: the channels that vary most, and each patch's vector, scaled to unit
length, for similarities. If the page would get too large, fewer channels are kept, and the vectors are projected onto
as many leading axes. The resulting error of similarities is measured and shown on the page.
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
from ..units import format_bytes
from .colours import Bytes, Floats, ramp, three_to_rgb
from .photos import PhotoFeatures
from .reduce import activation_strength, normalize_range, principal, strongest_channels

# How many numbers to keep per patch; the first that fits is used.
WIDTHS = (1 << 30, 1024, 512, 256, 128, 64, 32, 16)
SAMPLE = 512
"""Patches between which similarity errors are measured."""
MAX_FITTED = 8192
"""The maximum number of patches to fit axes on."""


def page(photos: Sequence[PhotoFeatures], model: str, strides: Mapping[str, int], theme: str, limit: int) -> str:
    """The page's HTML, of at most `limit` bytes. `theme` is dark, light, or auto for the system's."""
    parts = {name: read(name) for name in ("page.html", "style.css", "script.js")}
    pictures = [photo_data(photo) for photo in photos]
    fixed = sum(map(len, parts.values())) + sum(len(str(picture)) for picture in pictures)
    width = choose_width(photos, limit - fixed)
    stages = [stage_data(name, [photo.maps[name] for photo in photos], strides[name], width) for name in photos[0].maps]
    data = {
        "model": model,
        "photos": pictures,
        "stages": stages,
        "ramp": to_base64(ramp()),
        "accuracy": accuracy_note(stages),
    }
    values = {
        "theme": theme,
        "title": escape(f"{model}: feature maps"),
        "style": parts["style.css"],
        "script": parts["script.js"],
        # So that nothing in it can close the script element.
        "data": json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"),
    }
    return re.sub(r"{{(\w+)}}", lambda match: values[match[1]], parts["page.html"])


def read(name: str) -> str:
    return (resources.files(__package__) / "page" / name).read_text(encoding="utf-8")


def choose_width(photos: Sequence[PhotoFeatures], room: int) -> int:
    """How many numbers per patch fit into this many bytes, for all photos and stages."""
    shapes = [one.shape for photo in photos for one in photo.maps.values()]

    def needed(width: int) -> float:
        # Channels, vector, three bytes of colour and one of activation, in base64; and some text per channel.
        patches = sum(h * w * (2 * min(c, width) + 4) for c, h, w in shapes)
        return patches * 4 / 3 + sum(60 * min(c, width) + 400 for c, _, _ in shapes)

    for width in WIDTHS:
        if needed(width) <= room:
            return width
    raise UsageError(
        f"A page with these photos and stages needs at least {format_bytes(needed(WIDTHS[-1]))};"
        " choose fewer photos or stages, or a larger --max-size."
    )


def photo_data(photo: PhotoFeatures) -> dict[str, Any]:
    data = BytesIO()
    Image.fromarray(photo.picture).save(data, "JPEG", quality=90)
    source = "data:image/jpeg;base64," + b64encode(data.getvalue()).decode()
    return {"name": photo.name, "size": photo.picture.shape[:2], "src": source}


def stage_data(name: str, maps: Sequence[Floats], stride: int, width: int) -> dict[str, Any]:
    """The page's data about one stage, for all photos."""
    grids = [one.shape[1:] for one in maps]
    ends = np.cumsum([h * w for h, w in grids])[:-1]
    patches = np.concatenate([one.reshape(len(one), -1).T for one in maps])
    channels = patches.shape[1]

    vectors, scales, error = quantised_vectors(patches, min(channels, width))
    kept = strongest_channels(patches.T[:, :, None], min(channels, width))
    low, high = np.percentile(patches[:, kept], (1, 99), axis=0)
    values = ((patches[:, kept] - low) / np.maximum(high - low, 1e-12)).clip(0, 1)
    activation = normalize_range(np.concatenate([activation_strength(one).ravel() for one in maps]))
    colours = [three_to_rgb(one) for one in principal(maps)]
    each = zip(
        grids,
        np.split(vectors, ends),
        np.split(as_bytes(values), ends),
        np.split(as_bytes(activation), ends),
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
                "vectors": to_base64(vector),
                "channels": to_base64(value.T),
                "activation": to_base64(heat),
                "components": to_base64(colour),
            }
            for grid, vector, value, heat, colour in each
        ],
    }


def quantised_vectors(patches: Floats, dims: int) -> tuple[NDArray[np.int8], Floats, float]:
    """Patches (N, C) as vectors of `dims` bytes, a scale per dimension, and the largest similarity error measured."""
    units = unit(patches)
    if dims < units.shape[1]:
        step = -(-len(units) // MAX_FITTED)
        few = units[::step]
        projected = units @ np.linalg.eigh(few.T @ few)[1][:, : -dims - 1 : -1]
    else:
        projected = units
    scales = np.maximum(np.abs(projected).max(0), 1e-12) / 127
    numbers = np.rint(projected / scales).astype(np.int8)
    sample = np.random.default_rng(0).permutation(len(units))[:SAMPLE]
    restored = unit(numbers[sample] * scales)
    error = np.abs(restored @ restored.T - units[sample] @ units[sample].T).max()
    return numbers, scales, float(error)


def unit(rows: Floats) -> Floats:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def as_bytes(values: Floats) -> Bytes:
    return (values * 255 + 0.5).astype(np.uint8)


def to_base64(array: NDArray[Any]) -> str:
    return b64encode(np.ascontiguousarray(array).tobytes()).decode()


def accuracy_note(stages: Sequence[Mapping[str, Any]]) -> str:
    """A note about the page's accuracy."""
    worst = max(stages, key=lambda stage: stage["error"])
    cut = [stage["name"] for stage in stages if stage["dims"] < stage["channels"]]
    reduced = f" To save space, {', '.join(cut)} keep their leading directions only." if cut else ""
    return (
        "Features are stored in 8 bits, which moves a similarity by at most"
        f" {max(worst['error'], 0.0005):.3f} ({worst['name']}, measured among {SAMPLE} patches).{reduced}"
    )
