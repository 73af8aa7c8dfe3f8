"""What a model's image processor does to pixels: equal to transformers' Pillow-backed classes to the last bit.

Resizing and cropping give bytes; what follows depends only on a byte and its channel, so it is a table of 3 x 256
floats, computed once, that can be applied on any device. Processors that resize floats, or pad after normalizing, have
a different order of steps: they finish an image at once.
"""

from __future__ import annotations

import dataclasses
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..errors import UnsupportedModel, UsageError
from .decode import decode, to_rgb
from .defaults import LOADING_KEYWORDS, NO_EFFECT_KEYWORDS
from .lookup import look_up
from .settings import ProcessorSettings
from .sizes import DOC_LAYOUT_BYTES, DOC_LAYOUT_FLOATS, FLOATING, OWLV2, TORCH_BYTES, ZOEDEPTH, Size

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

FIRST, LAST = "channels_first", "channels_last"
"""Array layouts, under transformers' names."""


class BatchFeature(dict[str, Any]):
    """What a processor returns: a dict whose entries are also attributes."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def to(self, *args: Any, **kwargs: Any) -> BatchFeature:
        """Its tensors on another device or in another dtype."""
        return BatchFeature({k: v.to(*args, **kwargs) if hasattr(v, "to") else v for k, v in self.items()})


class ImageProcessor(ProcessorSettings):
    """A model's image processor: its settings, applied to pixels."""

    def resize_and_crop(self, image: Image.Image, *, fast: bool = False) -> Bytes | Floats:
        """An RGB image resized and cropped: bytes (H, W, 3), or floats (3, H, W) if they are model input already.

        With `fast`, large images are resized in two steps, which is not exact.
        """
        height, width = self.resize_target(image.height, image.width)
        if self.image_processor_type in FLOATING:
            return self.resize_and_crop_float(np.array(image), (height, width))
        if (width, height) != image.size:
            image = image.resize((width, height), self.resample, reducing_gap=3.0 if fast else None)
        for height, width in self.crops():
            left, top = (image.width - width) // 2, (image.height - height) // 2
            image = image.crop((left, top, left + width, top + height))  # zeros beyond the image
        pixels = np.array(image)
        if self.do_flip_channel_order:
            pixels = np.ascontiguousarray(pixels[..., ::-1])
        if self.squared(*image.size) != image.size:
            pixels = pad_to_square(pixels, self.image_mean)
        padding = self.padding(*pixels.shape[:2])
        if np.any(padding):
            return np.pad(self.normalize(pixels[None])[0], ((0, 0), *padding))
        return pixels

    def resize_and_crop_float(self, image: Bytes | Floats, size: Size) -> Floats:
        """The same for classes that resize as torch does, most of them after rescaling: model input (3, H, W)."""
        from .torch_ops import rescale, resize

        kind = self.image_processor_type
        if kind == OWLV2:
            return self.scale(resize_like_scipy(self.rescale(image), size, self.do_pad, self.do_resize))
        pixels: Any = np.ascontiguousarray(image.transpose(2, 0, 1))
        if kind == ZOEDEPTH:
            (rows, columns), pixels = self.reflection_padding(*pixels.shape[1:]), self.rescale(pixels)
            pixels = np.pad(pixels, ((0, 0), (rows, rows), (columns, columns)), mode="reflect")
        elif self.do_rescale and kind not in TORCH_BYTES:
            pixels = rescale(pixels, self.rescale_factor)
        antialias = kind not in (ZOEDEPTH, *DOC_LAYOUT_BYTES, DOC_LAYOUT_FLOATS)
        pixels = resize(pixels, size, self.resample, antialias=antialias, align_corners=kind == ZOEDEPTH)
        if kind == DOC_LAYOUT_FLOATS and self.do_resize:  # the bicubic filter overshoots at edges
            brightest = 255 if image.dtype == np.uint8 else 1
            pixels = pixels.clip(0, brightest * (self.rescale_factor if self.do_rescale else 1))
        for height, width in self.crops():
            pixels = crop_like_torchvision(pixels, height, width)
        pixels = pixels.astype(np.float32)
        pixels = self.rescale_and_scale(pixels) if kind in TORCH_BYTES else self.scale(pixels)
        return np.pad(pixels, ((0, 0), *self.padding(*pixels.shape[1:])))

    def normalize(self, batch: Bytes | Floats) -> Floats:
        """A batch of what `resize_and_crop` gives, as the model's input (N, 3, H, W)."""
        if batch.dtype == np.uint8:
            return look_up(batch, self.table)
        return np.ascontiguousarray(batch, dtype=np.float32)

    @cached_property
    def table(self) -> Floats:
        """The normalized value of each byte in each channel: (3, 256)."""
        every_byte = np.tile(np.arange(256, dtype=np.uint8), (3, 1))
        return self.scale(self.rescale(every_byte).astype(np.float32))

    def rescale(self, pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """In float64, as transformers does in numpy."""
        if not self.do_rescale:
            return pixels
        scaled = (pixels.astype(np.float64) * self.rescale_factor).astype(np.float32)
        return scaled - np.float32(1) if self.rescale_offset else scaled

    def scale(self, pixels: Floats, unit: float = 1) -> Floats:
        """Normalize (3, ...) by mean and standard deviation, which are given in this unit."""

        def aligned(values: float | tuple[float, ...] | None) -> Floats:
            per_channel = np.broadcast_to(np.array(values, dtype=np.float32) * np.float32(unit), 3)
            return per_channel.reshape(3, *[1] * (pixels.ndim - 1))

        if self.do_normalize:
            pixels = (pixels - aligned(self.image_mean)) / aligned(self.image_std)
        return pixels / aligned(self.image_std) if self.include_top else pixels

    def rescale_and_scale(self, pixels: Floats) -> Floats:
        """Rescale and normalize in one step, as torchvision does: mean and std are brought to the pixels' unit."""
        if self.do_rescale and self.do_normalize:
            return self.scale(pixels, 1 / self.rescale_factor)
        return self.scale(pixels * np.float32(self.rescale_factor) if self.do_rescale else pixels)

    def __call__(
        self,
        images: Any,
        return_tensors: str | None = None,
        *,
        input_data_format: str | None = None,
        **overrides: Any,
    ) -> BatchFeature:
        """Turn one image or several into `pixel_values`: an array (N, 3, H, W), or a list if their sizes differ.

        Images are PIL images, files, or arrays and tensors of bytes, (H, W, C), (C, H, W) or (H, W). Arrays of floats
        from 0 to 1 are accepted with `do_rescale=False`; only the classes that resize floats resize them as such, the
        others as bytes. `input_data_format` ("channels_first", "channels_last") is the layout of arrays whose shape
        is ambiguous. `return_tensors` is "pt" or "np"; `overrides` are settings for this call (`size=...`,
        `do_resize=False`).
        """
        if return_tensors not in (None, "np", "pt"):
            raise UsageError(f"return_tensors must be 'pt' or 'np', not '{return_tensors}'.")
        if input_data_format not in (None, FIRST, LAST):
            raise UsageError(f"input_data_format must be '{FIRST}' or '{LAST}', not {input_data_format!r}.")
        processor = self.with_settings(**overrides) if overrides else self
        each = [processor.process(image, input_data_format) for image in as_list(images)]
        alike = len({pixels.shape for pixels in each}) == 1
        values: Any = np.stack(each) if alike and return_tensors else each
        if return_tensors == "pt":
            import torch

            values = torch.from_numpy(values) if alike else [torch.from_numpy(pixels) for pixels in each]
        return BatchFeature(pixel_values=values)

    def preprocess(self, images: Any, return_tensors: str | None = None, **settings: Any) -> BatchFeature:
        """The same as calling the processor."""
        return self(images, return_tensors, **settings)

    def process(self, image: Any, layout: str | None = None) -> Floats:
        """One image of any kind as the model's input (3, H, W)."""
        if isinstance(image, (str, Path)):
            image = decode(image)
        if not isinstance(image, Image.Image):
            pixels = as_pixels(np.asarray(image), layout, may_be_unit=not self.do_rescale)
            if pixels.dtype != np.uint8:
                return self.process_unit_floats(pixels)
            image = Image.fromarray(pixels)
        if self.do_convert_rgb and image.has_transparency_data:
            white = Image.new("RGBA", image.size, (255, 255, 255, 255))
            image = Image.alpha_composite(white, image.convert("RGBA"))
        return self.normalize(self.resize_and_crop(to_rgb(image))[None])[0]

    def process_unit_floats(self, pixels: Floats) -> Floats:
        """`process` for floats from 0 to 1 (H, W, 3); they stay floats unless a Pillow-based class resizes them."""
        height, width = self.resize_target(*pixels.shape[:2])
        if self.image_processor_type in FLOATING:
            return self.normalize(self.resize_and_crop_float(pixels, (height, width))[None])[0]
        if self.do_resize:
            # As published, through bytes even if the size stays the same, and back to 0 to 1 after that.
            image = Image.fromarray((pixels.astype(np.float64) * 255).astype(np.float32).astype(np.uint8))
            return dataclasses.replace(self, do_rescale=True, rescale_factor=1 / 255, rescale_offset=False).process(
                image
            )
        for size in self.crops():
            pixels = crop_like_pillow(pixels, size)
        pixels = self.scale(
            pixels.astype(np.float32)[..., :: -1 if self.do_flip_channel_order else 1].transpose(2, 0, 1)
        )
        return np.pad(pixels, ((0, 0), *self.padding(*pixels.shape[1:])))

    def with_settings(self, **settings: Any) -> ImageProcessor:
        """The same processor with other settings, in any form that a config may have them in.

        transformers' keywords for how to compute, not what, are accepted and have no effect.
        """
        settings = {key: value for key, value in settings.items() if not has_no_effect(key, value)}
        if unknown := sorted(set(settings) - set(self.known_settings)):
            raise UsageError(f"{self.image_processor_type} has no setting named {', '.join(unknown)}.")
        try:
            return self.from_dict(self.to_dict() | settings)
        except UnsupportedModel as error:
            raise UsageError(str(error)) from error


def as_list(images: Any) -> list[Any]:
    """One image or a batch of them as a list."""
    if isinstance(images, (list, tuple)):
        return list(images)
    return list(images) if getattr(images, "ndim", 0) == 4 else [images]


def has_no_effect(key: str, value: Any) -> bool:
    """Whether a transformers keyword has no effect here. Raises UsageError if it would have one in transformers."""
    if key == "data_format" and value not in (None, FIRST):
        raise UsageError(f"pixel_values are always {FIRST}; data_format={value!r} is not supported.")
    if key in LOADING_KEYWORDS and value:
        raise UsageError(f"{key} has no effect on an image processor; {LOADING_KEYWORDS[key]}.")
    return key in NO_EFFECT_KEYWORDS or key in LOADING_KEYWORDS or key == "data_format"


def as_pixels(pixels: npt.NDArray[Any], layout: str | None, *, may_be_unit: bool) -> npt.NDArray[Any]:
    """An array as (H, W, 3), bytes or floats from 0 to 1; without a `layout`, its shape tells."""
    if pixels.ndim == 2:
        pixels, layout = pixels[None], FIRST
    sides = {FIRST: pixels.shape[:1], LAST: pixels.shape[-1:]}
    if pixels.ndim != 3 or not {1, 3} & set(sides.get(layout or "", pixels.shape[::2])):
        raise UsageError(f"An array of shape {pixels.shape} is not an image; use (H, W, 3), (3, H, W) or (H, W).")
    if layout == FIRST or (layout is None and pixels.shape[0] in (1, 3)):
        pixels = pixels.transpose(1, 2, 0)
    pixels = np.broadcast_to(pixels, (*pixels.shape[:2], 3))
    if pixels.dtype == np.uint8:
        return pixels
    low, high = pixels.min(initial=0), pixels.max(initial=0)
    whole = np.array_equal(pixels, np.trunc(pixels))
    if low < 0 or high > 255 or not (whole or (high <= 1 and may_be_unit)):
        raise UsageError(f"Pixels range from {low} to {high}; use bytes, or floats from 0 to 1 with do_rescale=False.")
    if whole:
        return pixels.astype(np.uint8)
    return pixels if pixels.dtype == np.float64 else pixels.astype(np.float32)


def crop_like_pillow(pixels: npt.NDArray[Any], size: Size) -> npt.NDArray[Any]:
    """Center crop of (H, W, C) with Pillow's rounding and zeros beyond the image: an odd line is added in front."""
    beyond = [max(wanted - side, 0) for wanted, side in zip(size, pixels.shape, strict=False)]
    pixels = np.pad(pixels, (*((more - more // 2, more // 2) for more in beyond), (0, 0)))
    top, left = ((side - wanted) // 2 for wanted, side in zip(size, pixels.shape, strict=False))
    return pixels[top : top + size[0], left : left + size[1]]


def pad_to_square(pixels: Bytes, mean: float | tuple[float, ...] | None) -> Bytes:
    """Pad (H, W, 3) around the image with its mean color."""
    height, width = pixels.shape[:2]
    side = max(height, width)
    color = np.broadcast_to((np.array(0.5 if mean is None else mean) * 255).astype(np.uint8), 3)
    square = np.tile(color, (side, side, 1))
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = pixels
    return square


def resize_like_scipy(pixels: npt.NDArray[Any], size: Size, pad: bool, resize: bool) -> Floats:
    """(H, W, 3) padded with zeros to a square, smoothed and resized, as scikit-image does: (3, H, W)."""
    try:
        from scipy import ndimage
    except ImportError as error:
        raise UnsupportedModel(
            f"{OWLV2} resizes with scipy, which is missing. Install it with `pip install 'backbone-cli[owlv2]'`."
        ) from error
    if pad:
        side = max(pixels.shape[:2])
        pixels = np.pad(pixels, ((0, side - pixels.shape[0]), (0, side - pixels.shape[1]), (0, 0)))
    if resize:
        factors = np.divide(pixels.shape, (*size, 3))
        smooth = ndimage.gaussian_filter(pixels, np.maximum(0, (factors - 1) / 2), cval=0, mode="mirror")
        resized = ndimage.zoom(smooth, list(1 / factors), order=1, mode="mirror", cval=0, grid_mode=True)
        pixels = np.clip(resized, pixels.min(), pixels.max())
    return np.ascontiguousarray(pixels.transpose(2, 0, 1), dtype=np.float32)


def crop_like_torchvision(pixels: Floats, height: int, width: int) -> Floats:
    """Center crop of (C, H, W) with torchvision's rounding and zeros beyond the image: an odd line is added behind."""
    _, h, w = pixels.shape
    down, right = max(height - h, 0), max(width - w, 0)
    pixels = np.pad(pixels, ((0, 0), (down // 2, down - down // 2), (right // 2, right - right // 2)))
    top, left = (pixels.shape[1] - height) // 2, (pixels.shape[2] - width) // 2
    return pixels[:, top : top + height, left : left + width]
