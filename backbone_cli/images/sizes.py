"""From an image's size to the size that it is resized to, class by class; each is transformers' arithmetic."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .plan import Plan

Size = tuple[int, int]
"""Height and width."""

CONVNEXT = "ConvNextImageProcessor"
ZOEDEPTH = "ZoeDepthImageProcessor"
DPT_LIKE = ("DPTImageProcessor", "PromptDepthAnythingImageProcessor")
DOC_LAYOUT_BYTES = ("PPDocLayoutV2ImageProcessor", "PPDocLayoutV3ImageProcessor")
DOC_LAYOUT_FLOATS = "PPDocLayoutV4ImageProcessor"
FLOATING = ("DINOv3ViTImageProcessor", ZOEDEPTH, *DOC_LAYOUT_BYTES, DOC_LAYOUT_FLOATS)
"""Classes that resize as torch does, most of them floats that are rescaled before; the others resize as Pillow does."""

RESIZABLE = (
    {"height", "width"},
    {"shortest_edge"},
    {"shortest_edge", "longest_edge"},
    {"longest_edge"},
    {"max_height", "max_width"},
    {"min_height", "min_width"},  # ours: what `with_size` asks of a processor that crops
)


def by_size(plan: Plan, height: int, width: int) -> Size:
    """What most classes do: whatever the keys of `size` mean."""
    match plan.size:
        case {"height": h, "width": w}:
            return h, w
        case {"shortest_edge": short, "longest_edge": longest}:
            return between(height, width, short, longest)
        case {"shortest_edge": short}:
            return covering(height, width, short, short)
        case {"min_height": h, "min_width": w}:
            return covering(height, width, h, w)
        case {"max_height": h, "max_width": w}:
            scale = min(h / height, w / width)
            return int(height * scale), int(width * scale)
        case {"longest_edge": longest}:
            scale = longest / max(height, width)
            return int(height * scale + 0.5), int(width * scale + 0.5)
    return height, width


def covering(height: int, width: int, h: int, w: int) -> Size:
    """The smallest size of an image's shape that covers h x w, the longer edge rounded down."""
    if width * h <= height * w:
        return int(w * height / width), w
    return h, int(h * width / height)


def between(height: int, width: int, short: int, longest: int) -> Size:
    """The shorter edge as asked for, or less, so that the other one is at most `longest`."""
    low, high = sorted((height, width))
    exact: float = short
    if high / low * short > longest:
        exact = longest * low / high
        short = round(exact)
    if low == short:
        return height, width
    if width < height:
        return int(exact * height / width), short
    return short, int(exact * width / height)


def convnext(plan: Plan, height: int, width: int) -> Size:
    """Below 384 the window is cut from a larger image, from there on the image is stretched to it."""
    h, w = sides(plan)
    if not crops_itself(plan):
        return h, w
    share = plan.crop_pct or 224 / 256
    return covering(height, width, int(h / share), int(w / share))


def sides(plan: Plan) -> Size:
    """The window that `size` means to a class that takes a shortest edge for a square."""
    size = plan.size or {}
    return (size["shortest_edge"],) * 2 if "shortest_edge" in size else as_pair(size)


def crops_itself(plan: Plan) -> bool:
    return min(sides(plan)) < 384


def poolformer(plan: Plan, height: int, width: int) -> Size:
    if plan.crop_pct is None:
        return by_size(plan, height, width)
    h, w = (int(side / plan.crop_pct) for side in sides(plan))
    stretched = "height" in (plan.size or {}) and h != w
    return (h, w) if stretched else covering(height, width, h, w)


def levit(plan: Plan, height: int, width: int) -> Size:
    if "height" in (plan.size or {}):
        return by_size(plan, height, width)
    h, w = sides(plan)
    return covering(height, width, int(256 / 224 * h), int(256 / 224 * w))


def to_multiple(plan: Plan, height: int, width: int) -> Size:
    """As near the size as whole multiples allow; by the gentler of the two scales where the shape is kept."""
    h, w = as_pair(plan.size or {})
    vertical, horizontal = h / height, w / width
    if plan.keep_aspect_ratio:
        vertical = horizontal = min(vertical, horizontal, key=lambda scale: abs(1 - scale))
    unit = plan.ensure_multiple_of
    return int(round(vertical * height / unit) * unit), int(round(horizontal * width / unit) * unit)


def divisible(plan: Plan, height: int, width: int) -> Size:
    h, w = by_size(plan, height, width)
    unit = plan.size_divisor or 1
    return math.ceil(h / unit) * unit, math.ceil(w / unit) * unit


RESIZE: Mapping[str, Callable[[Plan, int, int], Size]] = {
    CONVNEXT: convnext,
    "LevitImageProcessor": levit,
    "Mask2FormerImageProcessor": divisible,
    "MaskFormerImageProcessor": divisible,
    "PoolFormerImageProcessor": poolformer,
    **dict.fromkeys((*DPT_LIKE, ZOEDEPTH), to_multiple),
}


def window(size: Size) -> dict[str, int]:
    return {"height": size[0], "width": size[1]}


def scaled(size: Mapping[str, int], old: Size, new: Size) -> dict[str, int]:
    """What is resized to before a crop, scaled as that crop's window is."""
    before = (
        as_pair(size) if "height" in size else (size.get("shortest_edge", old[0]), size.get("shortest_edge", old[1]))
    )
    height, width = (round(b * n / o) for b, n, o in zip(before, new, old, strict=True))
    if "height" in size:
        return window((height, width))
    return {"shortest_edge": height} if height == width else {"min_height": height, "min_width": width}


def as_pair(size: Mapping[str, int]) -> Size:
    """The two numbers of a height and a width, or of `min_height` and `min_width`."""
    height, width = size.values()
    return height, width
