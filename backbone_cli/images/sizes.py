"""From an image's size to the size that it is resized to: each processor class's own arithmetic, as in transformers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .settings import ProcessorSettings

Size = tuple[int, int]
"""Height and width."""

MAX_PIXELS = 178_956_970
"""The largest image that is opened or made: Pillow's own limit. Resizing 1 x 60000 would exceed it."""

CONVNEXT = "ConvNextImageProcessor"
ZOEDEPTH = "ZoeDepthImageProcessor"
DPT_LIKE = ("DPTImageProcessor", "PromptDepthAnythingImageProcessor")
DOC_LAYOUT_BYTES = ("PPDocLayoutV2ImageProcessor", "PPDocLayoutV3ImageProcessor")
DOC_LAYOUT_FLOATS = "PPDocLayoutV4ImageProcessor"
TORCH_BYTES = (*DOC_LAYOUT_BYTES, "Sam3ImageProcessor")
OWLV2 = "Owlv2ImageProcessor"
JANUS = "JanusImageProcessor"
FLOATING = ("DINOv3ViTImageProcessor", OWLV2, ZOEDEPTH, *TORCH_BYTES, DOC_LAYOUT_FLOATS)
"""Classes that resize as torch (OWLv2's: as scipy) does, most of them after rescaling to floats; all others resize as
Pillow does."""

PADS_FIRST = (OWLV2, ZOEDEPTH)
"""Classes that pad before they resize."""

RESIZABLE = (
    {"height", "width"},
    {"shortest_edge"},
    {"shortest_edge", "longest_edge"},
    {"longest_edge"},
    {"max_height", "max_width"},
    {"min_height", "min_width"},  # our own: what `with_size` makes of a processor that crops
)


def resize_by_keys(settings: ProcessorSettings, height: int, width: int) -> Size:
    """What most classes do: resize as the keys of `size` say."""
    match settings.size:
        case {"height": h, "width": w}:
            return h, w
        case {"shortest_edge": short, "longest_edge": longest}:
            return fit_between(height, width, short, longest)
        case {"shortest_edge": short}:
            return cover(height, width, short, short)
        case {"min_height": h, "min_width": w}:
            return cover(height, width, h, w)
        case {"max_height": h, "max_width": w}:
            scale = min(h / height, w / width)
            return int(height * scale), int(width * scale)
        case {"longest_edge": longest}:
            scale = longest / max(height, width)
            return int(height * scale + 0.5), int(width * scale + 0.5)
    return height, width


def cover(height: int, width: int, h: int, w: int) -> Size:
    """The smallest size with the image's aspect ratio that covers h x w; the longer edge is rounded down."""
    if width * h <= height * w:
        return int(w * height / width), w
    return h, int(h * width / height)


def fit_between(height: int, width: int, short: int, longest: int) -> Size:
    """The shorter edge becomes `short`, or less so that the longer one is at most `longest`."""
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


def resize_convnext(settings: ProcessorSettings, height: int, width: int) -> Size:
    """Below 384 the crop is taken from a larger image; from 384 on the image is stretched to it."""
    h, w = crop_window(settings)
    if not crops_by_resizing(settings):
        return h, w
    share = settings.crop_pct or 224 / 256
    return cover(height, width, int(h / share), int(w / share))


def crop_window(settings: ProcessorSettings) -> Size:
    """The crop that `size` means for a class that reads a shortest edge as a square."""
    size = settings.size or {}
    return (size["shortest_edge"],) * 2 if "shortest_edge" in size else as_pair(size)


def crops_by_resizing(settings: ProcessorSettings) -> bool:
    return min(crop_window(settings)) < 384


def resize_poolformer(settings: ProcessorSettings, height: int, width: int) -> Size:
    if settings.crop_pct is None:
        return resize_by_keys(settings, height, width)
    h, w = (int(side / settings.crop_pct) for side in crop_window(settings))
    stretched = "height" in (settings.size or {}) and h != w
    return (h, w) if stretched else cover(height, width, h, w)


def resize_levit(settings: ProcessorSettings, height: int, width: int) -> Size:
    if "height" in (settings.size or {}):
        return resize_by_keys(settings, height, width)
    h, w = crop_window(settings)
    return cover(height, width, int(256 / 224 * h), int(256 / 224 * w))


def resize_to_multiple(settings: ProcessorSettings, height: int, width: int) -> Size:
    """The nearest multiples to the size; when keeping the aspect ratio, by the scale closer to 1."""
    h, w = as_pair(settings.size or {})
    vertical, horizontal = h / height, w / width
    if settings.keep_aspect_ratio:
        vertical = horizontal = min(vertical, horizontal, key=lambda scale: abs(1 - scale))
    unit = settings.ensure_multiple_of
    return int(round(vertical * height / unit) * unit), int(round(horizontal * width / unit) * unit)


def resize_divisible(settings: ProcessorSettings, height: int, width: int) -> Size:
    h, w = resize_by_keys(settings, height, width)
    unit = settings.size_divisor or 1
    return math.ceil(h / unit) * unit, math.ceil(w / unit) * unit


def resize_yolos(settings: ProcessorSettings, height: int, width: int) -> Size:
    """As DETR, then down to whole patches, which have 16 pixels whatever the model says."""
    h, w = resize_by_keys(settings, height, width)
    return (h - h % 16, w - w % 16) if "longest_edge" in (settings.size or {}) else (h, w)


def resize_idefics2(settings: ProcessorSettings, height: int, width: int) -> Size:
    """The longer edge becomes the longest at most, then each edge the shortest at least."""
    if "longest_edge" not in (settings.size or {}):
        return resize_by_keys(settings, height, width)
    short, longest = (settings.size or {})["shortest_edge"], (settings.size or {})["longest_edge"]
    ratio = width / height
    if width >= height and width > longest:
        height, width = int(longest / ratio), longest
    elif height > width and height > longest:
        height, width = longest, int(longest * ratio)
    return max(height, short), max(width, short)


def resize_janus(settings: ProcessorSettings, height: int, width: int) -> Size:
    """The longer edge becomes the size's, the shorter one `min_size` at least."""
    h, w = as_pair(settings.size or {})
    if h != w:  # only `with_size` makes such a size
        return h, w
    scale = h / max(height, width)
    return max(round(height * scale), settings.min_size), max(round(width * scale), settings.min_size)


def resize_naflex(settings: ProcessorSettings, height: int, width: int) -> Size:
    """The largest size of whole patches that has at most `max_num_patches` of them, found by bisection as published."""
    patch, most = settings.patch_size, settings.max_num_patches
    if not most:  # only after `with_size`
        return resize_by_keys(settings, height, width)

    def scaled(scale: float) -> Size:
        h, w = (max(patch, math.ceil(side * scale / patch) * patch) for side in (height, width))
        return h, w

    low, high = 1e-6, 100.0
    while high - low >= 1e-5:
        middle = (low + high) / 2
        h, w = scaled(middle)
        low, high = (middle, high) if (h / patch) * (w / patch) <= most else (low, middle)
    return scaled(low)


RESIZE: Mapping[str, Callable[[ProcessorSettings, int, int], Size]] = {
    CONVNEXT: resize_convnext,
    "Idefics2ImageProcessor": resize_idefics2,
    JANUS: resize_janus,
    "LevitImageProcessor": resize_levit,
    "Mask2FormerImageProcessor": resize_divisible,
    "MaskFormerImageProcessor": resize_divisible,
    "PoolFormerImageProcessor": resize_poolformer,
    "Siglip2ImageProcessor": resize_naflex,
    "YolosImageProcessor": resize_yolos,
    **dict.fromkeys((*DPT_LIKE, ZOEDEPTH), resize_to_multiple),
}


def to_size_dict(size: Size) -> dict[str, int]:
    return {"height": size[0], "width": size[1]}


def scale_size(size: Mapping[str, int], old: Size, new: Size) -> dict[str, int]:
    """The size to resize to before a crop, scaled like the crop."""
    before = (
        as_pair(size) if "height" in size else (size.get("shortest_edge", old[0]), size.get("shortest_edge", old[1]))
    )
    height, width = (round(b * n / o) for b, n, o in zip(before, new, old, strict=True))
    if "height" in size:
        return to_size_dict((height, width))
    return {"shortest_edge": height} if height == width else {"min_height": height, "min_width": width}


def as_pair(size: Mapping[str, int]) -> Size:
    """(height, width) of a size dict."""
    height, width = size.values()
    return height, width
