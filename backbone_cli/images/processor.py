"""What a model's image processor does to pixels: equal to transformers' Pillow-backed classes to the last bit.

Resizing and cropping give bytes, and what follows depends on a byte and its channel alone: it is a table of 3 x 256
floats, computed once, that can be applied anywhere. Processors that resize floats, or that pad after normalising, have
no such order of steps; they finish an image at once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..errors import UnsupportedModel, UsageError
from .decode import decode, to_rgb
from .plan import FLOATING, ZOEDEPTH, Plan, Size, load_plan

if TYPE_CHECKING:
    from ..resolve import Resolved

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


class BatchFeature(dict[str, Any]):
    """What a processor returns: a dict whose entries can be read as attributes, too."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def to(self, *args: Any, **kwargs: Any) -> BatchFeature:
        """The same, its tensors on another device or of another dtype."""
        return BatchFeature({k: v.to(*args, **kwargs) if hasattr(v, "to") else v for k, v in self.items()})


class ImageProcessor(Plan):
    """A model's image processor: its settings, and what they do to pixels."""

    def geometry(self, image: Image.Image, *, fast: bool = False) -> Bytes | Floats:
        """An RGB image resized and cropped: H W 3, bytes, or floats where they come out finished already.

        With `fast`, large images are resized in two steps, which is not exact.
        """
        height, width = self.resize_target(image.height, image.width)
        if self.image_processor_type in FLOATING:
            return self.float_geometry(np.array(image), (height, width))
        if (width, height) != image.size:
            image = image.resize((width, height), self.resample, reducing_gap=3.0 if fast else None)
        for height, width in self.crops():
            left, top = (image.width - width) // 2, (image.height - height) // 2
            image = image.crop((left, top, left + width, top + height))  # zeros where that sticks out
        pixels = np.array(image)
        if self.do_flip_channel_order:
            pixels = np.ascontiguousarray(pixels[..., ::-1])
        margins = self.margins(image.height, image.width)
        if np.any(margins):
            return np.pad(self.normalize(pixels[None])[0].transpose(1, 2, 0), (*margins, (0, 0)))
        return pixels

    def float_geometry(self, image: Bytes, size: Size) -> Floats:
        """The same for the classes that rescale before they resize; finished, therefore."""
        from .device import rescaled, resize_floats

        pixels: Any = np.ascontiguousarray(image.transpose(2, 0, 1))
        if self.image_processor_type == ZOEDEPTH:
            (rows, columns), pixels = self.reflected(*pixels.shape[1:]), self.rescale(pixels)
            pixels = np.pad(pixels, ((0, 0), (rows, rows), (columns, columns)), mode="reflect")
        elif self.do_rescale:
            pixels = rescaled(pixels, self.rescale_factor)
        pixels = resize_floats(pixels, size, self.resample, by_corners=self.image_processor_type == ZOEDEPTH)
        for height, width in self.crops():
            pixels = cut(pixels, height, width)
        return self.scale(pixels.astype(np.float32)).transpose(1, 2, 0)

    def normalize(self, batch: Bytes | Floats) -> Floats:
        """N H W 3 as `geometry` gives it, to the model's input, N 3 H W."""
        if batch.dtype == np.uint8:
            return look_up(batch, self.table)
        return np.ascontiguousarray(batch.transpose(0, 3, 1, 2), dtype=np.float32)

    @cached_property
    def table(self) -> Floats:
        """What becomes of each byte in each channel: 3 x 256."""
        every_byte = np.tile(np.arange(256, dtype=np.uint8), (3, 1))
        return self.scale(self.rescale(every_byte).astype(np.float32))

    def rescale(self, pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Through float64, as transformers does it in numpy."""
        if not self.do_rescale:
            return pixels
        scaled = (pixels.astype(np.float64) * self.rescale_factor).astype(np.float32)
        return scaled - np.float32(1) if self.rescale_offset else scaled

    def scale(self, pixels: Floats) -> Floats:
        """By mean and deviation; the channels come first."""

        def aligned(values: float | tuple[float, ...] | None) -> Floats:
            per_channel = np.broadcast_to(np.array(values, dtype=np.float32), 3)
            return per_channel.reshape(3, *[1] * (pixels.ndim - 1))

        if self.do_normalize:
            pixels = (pixels - aligned(self.image_mean)) / aligned(self.image_std)
        return pixels / aligned(self.image_std) if self.include_top else pixels

    def __call__(self, images: Any, return_tensors: str | None = None, **overrides: Any) -> BatchFeature:
        """One image or many to `pixel_values`: an array (N, 3, H, W), or a list where the images come out unequal.

        Images are PIL's, files, or arrays and tensors of bytes (H W C, C H W or H W); arrays of floats from 0 to 1 are
        taken with `do_rescale=False`, and go through bytes. `return_tensors` is "pt" or "np"; `overrides` are settings
        of the processor (`size=...`, `do_resize=False`) for this call.
        """
        if return_tensors not in (None, "np", "pt"):
            raise UsageError(f"return_tensors is 'pt' or 'np', not '{return_tensors}'.")
        processor = self.changed(**overrides) if overrides else self
        each = [processor.finish(image) for image in listed(images)]
        alike = len({pixels.shape for pixels in each}) == 1
        values: Any = np.stack(each) if alike and return_tensors else each
        if return_tensors == "pt":
            import torch

            values = torch.from_numpy(values) if alike else [torch.from_numpy(pixels) for pixels in each]
        return BatchFeature(pixel_values=values)

    def finish(self, image: Any) -> Floats:
        """One image of any kind, as the model takes it: 3 H W."""
        if isinstance(image, (str, Path)):
            image = decode(image)
        if not isinstance(image, Image.Image):
            pixels, is_unit = as_bytes(np.asarray(image), may_be_unit=not self.do_rescale)
            processor = self
            if is_unit:  # what came as 0 to 1 is brought back there after resizing
                processor = dataclasses.replace(self, do_rescale=True, rescale_factor=1 / 255, rescale_offset=False)
            return processor.finish(Image.fromarray(pixels))
        if self.do_convert_rgb and image.has_transparency_data:
            white = Image.new("RGBA", image.size, (255, 255, 255, 255))
            image = Image.alpha_composite(white, image.convert("RGBA"))
        return self.normalize(self.geometry(to_rgb(image))[None])[0]

    def changed(self, **settings: Any) -> ImageProcessor:
        """The same processor with other settings, in any of the forms that a config may have them in."""
        if unknown := sorted(set(settings) - set(self.honoured)):
            raise UsageError(f"{self.image_processor_type} has no setting {', '.join(unknown)}.")
        try:
            return self.from_dict(self.to_dict() | settings)
        except UnsupportedModel as error:
            raise UsageError(str(error)) from error


def look_up(batch: npt.NDArray[Any], table: Floats) -> Floats:
    """Bytes N H W C through a table C x 256, to N C H W."""
    n, h, w, c = batch.shape
    out = np.empty((n, c, h, w), np.float32)
    for channel in range(c):
        # Every byte is in the table; "clip" spares numpy the check.
        np.take(table[channel], batch[..., channel], out=out[:, channel], mode="clip")
    return out


def listed(images: Any) -> list[Any]:
    """One image or a batch of them as a list."""
    if isinstance(images, (list, tuple)):
        return list(images)
    return list(images) if getattr(images, "ndim", 0) == 4 else [images]


def as_bytes(pixels: npt.NDArray[Any], *, may_be_unit: bool) -> tuple[Bytes, bool]:
    """An array in whatever layout as bytes, H W 3; and whether its values went from 0 to 1."""
    if pixels.ndim == 2:
        pixels = pixels[None]
    if pixels.ndim != 3 or not {1, 3} & {pixels.shape[0], pixels.shape[-1]}:
        raise UsageError(f"An array of shape {pixels.shape} is no image: H x W x 3, 3 x H x W or H x W is.")
    if pixels.shape[0] in (1, 3):
        pixels = pixels.transpose(1, 2, 0)
    pixels = np.broadcast_to(pixels, (*pixels.shape[:2], 3))
    if pixels.dtype == np.uint8:
        return pixels, False
    low, high = pixels.min(initial=0), pixels.max(initial=0)
    whole = np.array_equal(pixels, np.trunc(pixels))
    if low < 0 or high > 255 or not (whole or (high <= 1 and may_be_unit)):
        raise UsageError(f"Pixels from {low} to {high} are neither bytes nor, with do_rescale=False, from 0 to 1.")
    if whole:
        return pixels.astype(np.uint8), False
    return (pixels.astype(np.float64) * 255).astype(np.float32).astype(np.uint8), True


def cut(pixels: Floats, height: int, width: int) -> Floats:
    """The middle of C H W, with zeros around it where it is too small; an odd line more goes below and to the right."""
    _, h, w = pixels.shape
    down, right = max(height - h, 0), max(width - w, 0)
    pixels = np.pad(pixels, ((0, 0), (down // 2, down - down // 2), (right // 2, right - right // 2)))
    top, left = (pixels.shape[1] - height) // 2, (pixels.shape[2] - width) // 2
    return pixels[:, top : top + height, left : left + width]


def load_processor(found: Resolved) -> ImageProcessor:
    """The image processor of a model that was found."""
    return load_plan(found, ImageProcessor)


def read_processor(said: Mapping[str, Any]) -> ImageProcessor:
    """The image processor whose `to_dict` said this."""
    from .timm import TimmImageProcessor

    is_timm = said.get("image_processor_type") == TimmImageProcessor.image_processor_type
    return TimmImageProcessor.from_dict(said) if is_timm else ImageProcessor.from_dict(said)
