"""timm's own preprocessing: equal to `timm.data.create_transform(**config, is_training=False)` to the last bit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..errors import UnsupportedModel
from ..images.processor import Bytes, ImageProcessor
from ..images.sizes import Size, as_pair, cover, to_size_dict

FILTERS = {filter.name.lower(): filter.value for filter in Image.Resampling}
MODES = ("center", "squash", "border")


@dataclass(frozen=True, kw_only=True)
class TimmImageProcessor(ImageProcessor):
    """Resizes to somewhat more than the model's input and crops the center."""

    image_processor_type: str = "TimmImageProcessor"
    crop_mode: str = "center"
    """How the resize treats the aspect ratio: `center` keeps it and covers the crop; `border` keeps it, fits inside the
    crop and pads with the mean colour; `squash` ignores it."""

    @classmethod
    def from_dict(cls, raw_config: Mapping[str, Any], default_class: str = "") -> TimmImageProcessor:
        """From timm's data config; missing keys have timm's defaults."""
        filter, mode = raw_config.get("interpolation", "bicubic"), raw_config.get("crop_mode", "center")
        if filter not in FILTERS or mode not in MODES:
            raise UnsupportedModel(
                f"timm preprocessing with interpolation={filter} and crop_mode={mode} is not supported."
            )
        return cls(
            size=to_size_dict(raw_config.get("input_size", (3, 224, 224))[-2:]),
            resample=FILTERS[filter],
            crop_pct=raw_config.get("crop_pct") or 0.875,
            crop_mode=mode,
            image_mean=per_channel_values(raw_config.get("mean", (0.485, 0.456, 0.406))),
            image_std=per_channel_values(raw_config.get("std", (0.229, 0.224, 0.225))),
        )

    def to_dict(self) -> dict[str, Any]:
        """timm's data config."""
        return {
            "image_processor_type": self.image_processor_type,
            "backend": "pillow",
            "input_size": [3, *self.window],
            "interpolation": next(name for name, value in FILTERS.items() if value == self.resample),
            "crop_pct": self.crop_pct,
            "crop_mode": self.crop_mode,
            "mean": self.image_mean,
            "std": self.image_std,
        }

    @property
    def known_settings(self) -> Mapping[str, Any]:  # type: ignore[override]
        return self.to_dict()

    @property
    def window(self) -> Size:
        return as_pair(self.size or {})

    def resized(self, height: int, width: int) -> Size:
        target = [math.floor(side / (self.crop_pct or 1)) for side in self.window]
        if self.crop_mode == "squash":
            return target[0], target[1]
        if self.crop_mode == "center" and target[0] == target[1]:
            return cover(height, width, target[0], target[1])
        ratios = height / target[0], width / target[1]
        ratio = max(ratios) if self.crop_mode == "border" else min(ratios)
        return round(height / ratio), round(width / ratio)

    def crops(self) -> list[Size]:
        return [self.window]

    def with_size(self, size: Size) -> TimmImageProcessor:
        return replace(self, size=to_size_dict(size))

    def resize_and_crop(self, image: Image.Image, *, fast: bool = False) -> Bytes:
        """An RGB image resized, and padded or cropped to the window: (H, W, 3)."""
        height, width = self.resize_target(image.height, image.width)
        if (width, height) != image.size:
            image = image.resize((width, height), self.resample, reducing_gap=3.0 if fast else None)
        h, w = self.window
        left, top = center_offset(w, image.width), center_offset(h, image.height)
        if w <= image.width and h <= image.height:
            return np.array(image.crop((left, top, left + w, top + h)))
        colour = tuple(round(255 * mean) for mean in np.broadcast_to(np.array(self.image_mean, dtype=float), 3))
        canvas = Image.new("RGB", (w, h), colour if self.crop_mode == "border" else (0, 0, 0))
        canvas.paste(image, (-left, -top))
        return np.array(canvas)

    def rescale(self, pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """In float32, as torch does it."""
        return pixels.astype(np.float32) / np.float32(255)


def per_channel_values(values: float | Sequence[float]) -> tuple[float, ...]:
    """One number per channel; a single number is used for all three."""
    listed = tuple(values) if isinstance(values, Sequence) else (values,)
    if len(listed) not in (1, 3):
        raise UnsupportedModel(f"This model takes images of {len(listed)} channels; photos have three.")
    return listed * (3 // len(listed))


def center_offset(window: int, side: int) -> int:
    """Where a centered window begins on a side; negative if the side is shorter."""
    return round((side - window) / 2) if side >= window else -((window - side) // 2)
