"""An image processor's settings, and what they do to an image's size: no pixels, no numpy, no torch.

Every step is that of transformers' Pillow-backed class of the same name; the keys are those of
`preprocessor_config.json`. Each image is processed by itself, so padding that only makes the images of a batch equally
large is not applied.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ..errors import ImageError, UnsupportedModel
from ..hub import write_json
from .defaults import BICUBIC, BILINEAR, CLASSES, DETR, IGNORED_KEYS, MASKFORMER, REFUSED, SPLITTING, UNKNOWN, Row
from .sizes import (
    CONVNEXT,
    DPT_LIKE,
    FLOATING,
    JANUS,
    MAX_PIXELS,
    OWLV2,
    PADS_FIRST,
    RESIZABLE,
    RESIZE,
    ZOEDEPTH,
    Size,
    as_pair,
    crop_window,
    crops_by_resizing,
    resize_by_keys,
    scale_size,
    to_size_dict,
)

S = TypeVar("S", bound="ProcessorSettings")


@dataclass(frozen=True, kw_only=True)
class ProcessorSettings:
    """A processor's settings, under transformers' names."""

    image_processor_type: str = "ViTImageProcessor"
    do_resize: bool = True
    size: dict[str, int] | None = None
    resample: int = BILINEAR
    do_center_crop: bool = False
    crop_size: dict[str, int] | None = None
    crop_pct: float | None = None
    size_divisor: int | None = None
    keep_aspect_ratio: bool = False
    ensure_multiple_of: float = 1
    do_rescale: bool = True
    rescale_factor: float = 1 / 255
    rescale_offset: bool = False
    do_normalize: bool = True
    image_mean: float | tuple[float, ...] | None = None
    image_std: float | tuple[float, ...] | None = None
    include_top: bool = False
    do_flip_channel_order: bool = False
    do_pad: bool = False
    pad_size: dict[str, int] | None = None
    do_convert_rgb: bool = False
    min_size: int = 0
    patch_size: int = 0
    max_num_patches: int = 0

    def __post_init__(self) -> None:
        if self.do_resize and not (self.size and set(self.size) in RESIZABLE) and not self.max_num_patches:
            raise ValueError(f"images can't be resized to a size of {self.size}")
        if self.do_center_crop and set(self.crop_size or ()) != {"height", "width"}:
            raise ValueError(f"images can't be cropped to a size of {self.crop_size}")
        if self.pad_size and set(self.pad_size) != {"height", "width"}:
            raise ValueError(f"images can't be padded to a size of {self.pad_size}")
        if self.max_num_patches and not (isinstance(self.patch_size, int) and self.patch_size >= 1):
            raise ValueError(f"patch_size is {self.patch_size!r}")
        for size in (self.size, self.crop_size, self.pad_size):
            if size and min(size.values()) < 1:
                raise ValueError(f"a size of {size} has no pixels")
        for size in (self.crop_size, self.pad_size):
            if size and math.prod(size.values()) > MAX_PIXELS:
                raise ValueError(f"a size of {size} has more than {MAX_PIXELS:,} pixels")
        for name in ("crop_pct", "size_divisor", "ensure_multiple_of", "rescale_factor"):
            if (value := getattr(self, name)) is not None and not (is_number(value) and value >= 0):
                raise ValueError(f"{name} is {value!r}")
        if self.resample not in range(6):
            raise ValueError(f"there is no resampling filter {self.resample!r}")
        if self.image_processor_type in FLOATING and self.resample not in (BILINEAR, BICUBIC):
            raise ValueError("floats can only be resized with the bilinear (2) or bicubic (3) filter")
        scales = [self.image_std] if isinstance(self.image_std, (int, float)) else self.image_std
        if self.do_normalize and (self.image_mean is None or not scales or 0 in scales):
            raise ValueError(f"images can't be normalized with mean {self.image_mean} and std {self.image_std}")
        for name in ("image_mean", "image_std"):
            value = getattr(self, name)
            if isinstance(value, tuple) and len(value) != 3:
                raise ValueError(f"{name} has {len(value)} values for 3 channels")
            if value is not None and not all(map(is_number, value if isinstance(value, tuple) else (value,))):
                raise ValueError(f"{name} is {value!r}")
        try:
            self.resized(640, 480)
        except (TypeError, ValueError, LookupError, ArithmeticError) as error:
            raise ValueError(f"images can't be resized to a size of {self.size}") from error

    # --- sizes ----------------------------------------------------------------------------------------------

    def resized(self, height: int, width: int) -> Size:
        """The size that an image of this size is resized to."""
        if not self.do_resize:
            return height, width
        return RESIZE.get(self.image_processor_type, resize_by_keys)(self, height, width)

    def crops(self) -> list[Size]:
        """The sizes of the center crops that follow, in order."""
        own = (
            [crop_window(self)]
            if self.image_processor_type == CONVNEXT and self.do_resize and crops_by_resizing(self)
            else []
        )
        return own + ([as_pair(self.crop_size)] if self.do_center_crop and self.crop_size else [])

    def padding(self, height: int, width: int) -> tuple[Size, Size]:
        """Zero padding of a processed image of this size: (top, bottom), (left, right)."""
        if self.do_pad and self.pad_size:
            bottom, right = self.pad_size["height"] - height, self.pad_size["width"] - width
            if min(bottom, right) < 0:
                raise ImageError(f"An image of {height} x {width} is larger than the {self.pad_size} it is padded to.")
            return (0, bottom), (0, right)
        if self.do_pad and self.size_divisor and self.image_processor_type in DPT_LIKE:
            vertical, horizontal = -height % self.size_divisor, -width % self.size_divisor
            return (vertical // 2, vertical - vertical // 2), (horizontal // 2, horizontal - horizontal // 2)
        return (0, 0), (0, 0)

    def squared(self, height: int, width: int) -> Size:
        """The size of a resized image after padding to a square, as Janus and OWLv2 do."""
        pads = self.image_processor_type == JANUS or (self.image_processor_type == OWLV2 and not self.do_resize)
        if pads and self.do_pad:
            return max(height, width), max(height, width)
        return height, width

    def reflection_padding(self, height: int, width: int) -> Size:
        """Rows and columns of reflection padding at each edge before resizing; ZoeDepth only."""
        if self.do_pad and self.image_processor_type == ZOEDEPTH:
            return int(math.sqrt(height / 2) * 3), int(math.sqrt(width / 2) * 3)
        return 0, 0

    def resize_target(self, height: int, width: int) -> Size:
        """`resized`, of the image with its reflection padding. Raises ImageError for a size that can't be made."""
        rows, columns = self.reflection_padding(height, width)
        target = self.resized(height + 2 * rows, width + 2 * columns)
        most = max(MAX_PIXELS, height * width)
        if min(target) < 1 or math.prod(target) > most:
            if math.prod(self.resized(1000, 1000)) > most:  # whatever the image's shape
                raise ImageError(
                    f"An image of {height} x {width} would be resized to {target[0]} x {target[1]}, which is too large."
                    " Choose a smaller --image-size."
                )
            raise ImageError(
                f"An image of {height} x {width} is too long and narrow: it would be resized to"
                f" {target[0]} x {target[1]}. Crop it to a more usual shape, or give --image-size."
            )
        return target

    def output_size(self, height: int, width: int) -> Size:
        """The size of the processed image, for an image of this size."""
        height, width = [self.squared(*self.resize_target(height, width)), *self.crops()][-1]
        (top, bottom), (left, right) = self.padding(height, width)
        return height + top + bottom, width + left + right

    @property
    def fixed_size(self) -> Size | None:
        """The size of all processed images; None if it depends on the image."""
        if self.do_pad and self.pad_size:
            return as_pair(self.pad_size)
        # A resize that keeps the aspect ratio can't bring these three to one size.
        outcomes = {
            [self.squared(*self.resized(*probe)), *self.crops()][-1] for probe in ((1000, 1), (1, 1000), (640, 480))
        }
        if len(outcomes) > 1:
            return None
        (height, width) = outcomes.pop()
        (top, bottom), (left, right) = self.padding(height, width)
        return height + top + bottom, width + left + right

    @property
    def draft(self) -> Size | None:
        """How small a JPEG may be decoded with little loss: twice what it is resized to. None without resizing."""
        if not self.do_resize or any(self.reflection_padding(1000, 1000)):
            return None
        height, width = self.resized(1000, 1000)
        return 2 * height, 2 * width

    def with_size(self: S, size: Size) -> S:
        """The same processor, but with all processed images at exactly this height and width.

        A processor that resizes and then crops still does: the resize is scaled like the crop. If the crop isn't
        square, the image keeps its aspect ratio and covers the crop. Any other processor resizes to the size.
        """
        changed: dict[str, Any] = {"do_pad": self.do_pad and self.image_processor_type in PADS_FIRST}
        if self.image_processor_type == CONVNEXT:
            changed |= {"do_resize": True, "size": to_size_dict(size), "do_center_crop": False}
        elif self.do_center_crop and self.crop_size:
            changed |= {"crop_size": to_size_dict(size)}
            if self.do_resize and self.size:
                changed["size"] = scale_size(self.size, as_pair(self.crop_size), size)
        else:
            changed |= {
                "do_resize": True,
                "size": to_size_dict(size),
                "keep_aspect_ratio": False,
                "ensure_multiple_of": 1,
            }
            changed |= {"size_divisor": 1 if self.size_divisor else None, "max_num_patches": 0}
            changed |= {"min_size": min(size) if self.min_size else 0}
        return dataclasses.replace(self, **changed)

    # --- reading and writing --------------------------------------------------------------------------------

    @classmethod
    def from_dict(cls: type[S], raw_config: Mapping[str, Any], default_class: str = "ViTImageProcessor") -> S:
        """From the contents of a `preprocessor_config.json`; keys that it lacks have the class's defaults."""
        kind = class_name(raw_config) or default_class
        try:
            for key in ("size", "crop_size", "pad_size"):
                if isinstance(raw_config.get(key), bool):  # which is a number in Python
                    raise ValueError(f"{key} is {raw_config[key]}")
            return cls(image_processor_type=kind, **parse_settings(raw_config, kind))
        except (TypeError, ValueError, AttributeError, LookupError, ArithmeticError) as error:
            if isinstance(error, UnsupportedModel):
                raise
            raise UnsupportedModel(f"This {kind}'s preprocessor_config.json is invalid: {error}.") from error

    def to_dict(self) -> dict[str, Any]:
        """The contents of a `preprocessor_config.json`, with every setting; `from_dict` reads it back unchanged."""
        raw_config = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        row = self.known_settings
        raw_config = {
            key: value for key, value in raw_config.items() if key in row and (value, row[key]) != (None, None)
        }
        backend = "torch" if self.image_processor_type in FLOATING else "pillow"
        return {"image_processor_type": self.image_processor_type, "backend": backend} | raw_config

    @property
    def known_settings(self) -> Row:
        return CLASSES.get(self.image_processor_type, UNKNOWN)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write `preprocessor_config.json` into a folder, creating it if needed."""
        # transformers fails on the backend's name.
        raw_config = {key: value for key, value in self.to_dict().items() if key != "backend"}
        write_json(folder, "preprocessor_config.json", raw_config)


# --- from a config to settings -----------------------------------------------------------------------------------


def class_name(raw_config: Mapping[str, Any]) -> str | None:
    """The processor class that a config names, in today's spelling: no backend suffix, not a feature extractor."""
    named = raw_config.get("image_processor_type") or raw_config.get("feature_extractor_type")
    if not isinstance(named, str):
        return None
    named = named.replace("FeatureExtractor", "ImageProcessor")
    return named.removesuffix("Fast").removesuffix("Pil")


def parse_settings(raw_config: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """The fields of `ProcessorSettings`, from a config of this class."""
    row = CLASSES.get(kind)
    if row is None:
        row = UNKNOWN
        check_unknown(raw_config, kind)
    for key in SPLITTING:
        if raw_config.get(key):
            raise UnsupportedModel(
                f"The image processor {kind} makes several images of one, which is not supported."
                f" Set {key} to false in preprocessor_config.json."
            )
    if isinstance(rescale := raw_config.get("rescale"), bool):  # in early OWL-ViT configs
        raw_config = {"do_rescale": rescale, **raw_config}
    values = row | {
        key: value if value is not None else value_for_null(key, row[key])
        for key, value in raw_config.items()
        if key in row
    }
    is_square = values.pop("default_to_square")
    longest = raw_config.get("max_size", 1333 if row is DETR else None) if row in (DETR, MASKFORMER) else None
    if row is MASKFORMER and longest and raw_config.get("size") is None:
        values["size"] = values["size"] | {"longest_edge": longest}
    values["size"] = size_dict(values["size"], is_square, longest)
    for key in ("crop_size", "pad_size"):
        if key in values:
            values[key] = size_dict(values[key])
    for key in ("image_mean", "image_std"):
        if isinstance(values.get(key), (list, tuple)):
            values[key] = tuple(map(float, values[key]))
    if "do_normalize" not in row:
        values["do_normalize"] = False
    return values | {key: bool(values[key]) for key in values if key.startswith("do_")}


def check_unknown(raw_config: Mapping[str, Any], kind: str) -> None:
    """An unknown class can be used only if its config spells out everything that matters."""
    advice = (
        "Name a supported class (for example ViTImageProcessor) in preprocessor_config.json, with all its settings."
    )
    if kind in REFUSED:
        raise UnsupportedModel(f"The image processor {kind} is not supported: it has steps of its own. {advice}")
    if unknown := sorted(set(raw_config) - set(UNKNOWN) - IGNORED_KEYS):
        raise UnsupportedModel(
            f"The image processor {kind} is unknown, and so is what its settings {', '.join(unknown)} mean. {advice}"
        )
    needed = ["do_resize", "do_rescale", "do_normalize"] + (["resample"] if raw_config.get("do_resize") else [])
    if missing := [key for key in needed if key not in raw_config]:
        raise UnsupportedModel(
            f"The image processor {kind} is unknown, and its config lacks {', '.join(missing)}. {advice}"
        )


def value_for_null(key: str, usual: Any) -> Any:
    """What null means in a config: off, no crop, no padding; otherwise the class's default."""
    if key.startswith("do_") or isinstance(usual, bool):
        return False
    return {"resample": BILINEAR, "crop_pct": None, "crop_size": None, "pad_size": None}.get(key, usual)


def size_dict(size: Any, square: bool = True, longest: int | None = None) -> dict[str, int] | None:
    """`224`, `[480, 640]` and `{"shortest_edge": 224}` as the keys that they stand for."""
    if size is None:
        return None
    if isinstance(size, Mapping):
        # Sorted, since callers unpack the values.
        return {key: int(size[key]) for key in sorted(size) if size[key] is not None}
    if isinstance(size, (list, tuple)):
        return to_size_dict((int(size[0]), int(size[1])))
    if square:
        return to_size_dict((int(size), int(size)))
    return {"shortest_edge": int(size)} | ({"longest_edge": int(longest)} if longest else {})


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
