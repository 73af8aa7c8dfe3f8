"""What an image processor does to an image's size, from its config alone: no pixels, no numpy, no torch.

Every step is that of transformers' Pillow-backed class of the same name; the keys are those of
`preprocessor_config.json`. Each image is taken by itself, so padding that only makes a batch's images equally large
is not applied.
"""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from .. import composites
from ..errors import ImageError, UnsupportedModel
from ..hub import write_json
from .published import BICUBIC, BILINEAR, CLASSES, DETR, MASKFORMER, REFUSED, SILENT, UNKNOWN, Row
from .sizes import (
    CONVNEXT,
    DPT_LIKE,
    FLOATING,
    RESIZABLE,
    RESIZE,
    ZOEDEPTH,
    Size,
    as_pair,
    by_size,
    crops_itself,
    scaled,
    sides,
    window,
)

if TYPE_CHECKING:
    from ..configs.timm_backbone import TimmBackboneConfig
    from ..resolve import Resolved

P = TypeVar("P", bound="Plan")

MAX_PIXELS = 178_956_970
"""The largest image that is made: Pillow refuses to open larger ones, and 1 x 60000 would be resized to more."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A processor's settings, under the names that transformers has for them."""

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

    def __post_init__(self) -> None:
        if self.do_resize and not (self.size and set(self.size) in RESIZABLE):
            raise ValueError(f"images can't be resized to a size of {self.size}")
        if self.do_center_crop and set(self.crop_size or ()) != {"height", "width"}:
            raise ValueError(f"images can't be cropped to a size of {self.crop_size}")
        if self.pad_size and set(self.pad_size) != {"height", "width"}:
            raise ValueError(f"images can't be padded to a size of {self.pad_size}")
        for size in (self.size, self.crop_size, self.pad_size):
            if size and min(size.values()) < 1:
                raise ValueError(f"a size of {size} holds no pixel")
        for size in (self.crop_size, self.pad_size):
            if size and math.prod(size.values()) > MAX_PIXELS:
                raise ValueError(f"a size of {size} holds more than {MAX_PIXELS:,} pixels")
        for name in ("crop_pct", "size_divisor", "ensure_multiple_of", "rescale_factor"):
            if (value := getattr(self, name)) is not None and not (is_number(value) and value >= 0):
                raise ValueError(f"{name} is {value!r}")
        if self.resample not in range(6):
            raise ValueError(f"there is no resampling filter {self.resample!r}")
        if self.image_processor_type in FLOATING and self.resample not in (BILINEAR, BICUBIC):
            raise ValueError("floats are resized by the bilinear (2) or bicubic (3) filter only")
        scales = [self.image_std] if isinstance(self.image_std, (int, float)) else self.image_std
        if self.do_normalize and (self.image_mean is None or not scales or 0 in scales):
            raise ValueError(f"images can't be normalised by mean {self.image_mean} and deviation {self.image_std}")
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
        return RESIZE.get(self.image_processor_type, by_size)(self, height, width)

    def crops(self) -> list[Size]:
        """The windows that are cut out of the middle after that, one after the other."""
        own = [sides(self)] if self.image_processor_type == CONVNEXT and self.do_resize and crops_itself(self) else []
        return own + ([as_pair(self.crop_size)] if self.do_center_crop and self.crop_size else [])

    def margins(self, height: int, width: int) -> tuple[Size, Size]:
        """Zeros added to a finished image of this size: above and below, left and right."""
        if self.do_pad and self.pad_size:
            bottom, right = self.pad_size["height"] - height, self.pad_size["width"] - width
            if min(bottom, right) < 0:
                raise ImageError(f"An image of {height} x {width} is larger than the {self.pad_size} it is padded to.")
            return (0, bottom), (0, right)
        if self.do_pad and self.size_divisor and self.image_processor_type in DPT_LIKE:
            vertical, horizontal = -height % self.size_divisor, -width % self.size_divisor
            return (vertical // 2, vertical - vertical // 2), (horizontal // 2, horizontal - horizontal // 2)
        return (0, 0), (0, 0)

    def reflected(self, height: int, width: int) -> Size:
        """Rows and columns mirrored outwards at each edge before resizing: ZoeDepth's way."""
        if self.do_pad and self.image_processor_type == ZOEDEPTH:
            return int(math.sqrt(height / 2) * 3), int(math.sqrt(width / 2) * 3)
        return 0, 0

    def resize_target(self, height: int, width: int) -> Size:
        """`resized` of the image with its reflections, where that is a size that can be made."""
        rows, columns = self.reflected(height, width)
        target = self.resized(height + 2 * rows, width + 2 * columns)
        most = max(MAX_PIXELS, height * width)
        if min(target) < 1 or math.prod(target) > most:
            if math.prod(self.resized(1000, 1000)) > most:  # whatever the image's shape
                raise ImageError(
                    f"An image of {height} x {width} would be resized to {target[0]} x {target[1]}, which is too large."
                    " Choose a smaller size for the model's images (--image-size)."
                )
            raise ImageError(
                f"An image of {height} x {width} is too long and narrow: it would be resized to"
                f" {target[0]} x {target[1]}. Cut it to a more usual shape, or give --image-size."
            )
        return target

    def output_size(self, height: int, width: int) -> Size:
        """The size that an image of this size comes out with."""
        height, width = [self.resize_target(height, width), *self.crops()][-1]
        (top, bottom), (left, right) = self.margins(height, width)
        return height + top + bottom, width + left + right

    @property
    def fixed_size(self) -> Size | None:
        """The size that all images come out with; None where it depends on the image."""
        if self.do_pad and self.pad_size:
            return as_pair(self.pad_size)
        # A step that keeps an image's shape can't bring these three to one size.
        outcomes = {[self.resized(*probe), *self.crops()][-1] for probe in ((1000, 1), (1, 1000), (640, 480))}
        if len(outcomes) > 1:
            return None
        (height, width) = outcomes.pop()
        (top, bottom), (left, right) = self.margins(height, width)
        return height + top + bottom, width + left + right

    @property
    def draft(self) -> Size | None:
        """How small a JPEG may be decoded without much harm: twice what it is resized to. None without resizing."""
        if not self.do_resize or any(self.reflected(1000, 1000)):
            return None
        height, width = self.resized(1000, 1000)
        return 2 * height, 2 * width

    def with_size(self: P, size: Size) -> P:
        """The same processor, but all images come out at exactly this height and width.

        One that resizes and then crops goes on to do so: its resize is scaled as its window is. Where the new window
        isn't square, an image keeps its shape and is made to cover the window. Any other resizes to the size.
        """
        changed: dict[str, Any] = {"do_pad": self.do_pad and self.image_processor_type == ZOEDEPTH}
        if self.image_processor_type == CONVNEXT:
            changed |= {"do_resize": True, "size": window(size), "do_center_crop": False}
        elif self.do_center_crop and self.crop_size:
            changed |= {"crop_size": window(size)}
            if self.do_resize and self.size:
                changed["size"] = scaled(self.size, as_pair(self.crop_size), size)
        else:
            changed |= {"do_resize": True, "size": window(size), "keep_aspect_ratio": False, "ensure_multiple_of": 1}
            changed |= {"size_divisor": 1 if self.size_divisor else None}
        return dataclasses.replace(self, **changed)

    # --- reading and writing --------------------------------------------------------------------------------

    @classmethod
    def from_dict(cls: type[P], said: Mapping[str, Any], kind_if_unsaid: str = "ViTImageProcessor") -> P:
        """From what a `preprocessor_config.json` says; what it leaves out is as the class has it."""
        kind = class_name(said) or kind_if_unsaid
        try:
            for key in ("size", "crop_size", "pad_size"):
                if isinstance(said.get(key), bool):  # which Python would take for a number
                    raise ValueError(f"{key} is {said[key]}")
            return cls(image_processor_type=kind, **settings(said, kind))
        except (TypeError, ValueError, AttributeError, LookupError, ArithmeticError) as error:
            if isinstance(error, UnsupportedModel):
                raise
            raise UnsupportedModel(f"This {kind}'s preprocessor_config.json makes no sense: {error}.") from error

    def to_dict(self) -> dict[str, Any]:
        """What a `preprocessor_config.json` says, every setting written out; `from_dict` reads it back the same."""
        said = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        row = self.honoured
        said = {key: value for key, value in said.items() if key in row and (value, row[key]) != (None, None)}
        backend = "torch" if self.image_processor_type in FLOATING else "pillow"
        return {"image_processor_type": self.image_processor_type, "backend": backend} | said

    @property
    def honoured(self) -> Row:
        return CLASSES.get(self.image_processor_type, UNKNOWN)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write `preprocessor_config.json` into a folder, which is made where it is missing."""
        # transformers chokes on the backend's name.
        said = {key: value for key, value in self.to_dict().items() if key != "backend"}
        write_json(folder, "preprocessor_config.json", said)


# --- from a config to settings -----------------------------------------------------------------------------------


def class_name(said: Mapping[str, Any]) -> str | None:
    """The class that a config means, in today's spelling: without the backend, not as a feature extractor."""
    named = said.get("image_processor_type") or said.get("feature_extractor_type")
    if not isinstance(named, str):
        return None
    named = named.replace("FeatureExtractor", "ImageProcessor")
    return named.removesuffix("Fast").removesuffix("Pil")


def settings(said: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """A plan's fields from a config of this class."""
    row = CLASSES.get(kind)
    if row is None:
        row = UNKNOWN
        check_unknown(said, kind)
    if isinstance(rescale := said.get("rescale"), bool):  # OWL-ViT's first configs
        said = {"do_rescale": rescale, **said}
    values = row | {
        key: value if value is not None else meant_by_none(key, row[key]) for key, value in said.items() if key in row
    }
    is_square = values.pop("default_to_square")
    longest = said.get("max_size", 1333 if row is DETR else None) if row in (DETR, MASKFORMER) else None
    if row is MASKFORMER and longest and said.get("size") is None:
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


def check_unknown(said: Mapping[str, Any], kind: str) -> None:
    """A class that is not known can be taken at its word only where it says all that matters."""
    advice = (
        "Name one that is known (ViTImageProcessor, for example) in preprocessor_config.json, with all its settings."
    )
    if kind in REFUSED:
        raise UnsupportedModel(f"Images can't be prepared as {kind} does it: it has steps of its own. {advice}")
    if foreign := sorted(set(said) - set(UNKNOWN) - SILENT):
        raise UnsupportedModel(
            f"The image processor {kind} is not known, and its settings {', '.join(foreign)} could mean anything."
        )
    needed = ["do_resize", "do_rescale", "do_normalize"] + (["resample"] if said.get("do_resize") else [])
    if unsaid := [key for key in needed if key not in said]:
        raise UnsupportedModel(
            f"The image processor {kind} is not known, and what it leaves unsaid could mean anything:"
            f" {', '.join(unsaid)}. {advice}"
        )


def meant_by_none(key: str, usual: Any) -> Any:
    """What a null in a config stands for: a switch that is off, no crop and no padding; else what the class has."""
    if key.startswith("do_") or isinstance(usual, bool):
        return False
    return {"resample": BILINEAR, "crop_pct": None, "crop_size": None, "pad_size": None}.get(key, usual)


def size_dict(size: Any, square: bool = True, longest: int | None = None) -> dict[str, int] | None:
    """`224`, `[480, 640]` and `{"shortest_edge": 224}` as the keys they stand for."""
    if size is None:
        return None
    if isinstance(size, Mapping):
        # In one order, for whoever takes the numbers without their names.
        return {key: int(size[key]) for key in sorted(size) if size[key] is not None}
    if isinstance(size, (list, tuple)):
        return window((int(size[0]), int(size[1])))
    if square:
        return window((int(size), int(size)))
    return {"shortest_edge": int(size)} | ({"longest_edge": int(longest)} if longest else {})


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


# --- from a model to its processor -------------------------------------------------------------------------------


def load_plan(found: Resolved, cls: type[P]) -> P:
    """The processor of a model: what its repository says of it; else its family's, at the size of its config."""
    if found.prepared_by_timm:
        from .timm import TimmImageProcessor

        config = cast("TimmBackboneConfig", found.config)
        return TimmImageProcessor.from_dict(config.data).with_size(config.default_size())  # type: ignore[return-value]
    composite = composites.find(found.inside)
    usual = composite.processor if composite else found.family.processor
    nested = (found.repo.json("processor_config.json") or {}).get("image_processor")
    said = nested if isinstance(nested, dict) else found.repo.json("preprocessor_config.json")
    if said is not None:
        return cls.from_dict(said, kind_if_unsaid=usual)
    pixels: Mapping[str, Any] = {} if composite else found.family.pixels
    if usual not in CLASSES:  # of a composite, whose backbone is to be had all the same
        usual, pixels = found.family.processor, found.family.pixels
    plan = cls.from_dict(pixels, kind_if_unsaid=usual).with_size(found.config.default_size())
    logging.getLogger("backbone_cli").warning(
        "'%s' has no preprocessor_config.json%s: images are processed as by %s, to %dx%d.",
        found.name,
        " in the cache" if found.repo.is_offline else "",
        usual,
        *found.config.default_size(),
    )
    return plan
