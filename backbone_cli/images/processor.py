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
from .plan import Plan, load_plan
from .published import OF_LOADING, WITHOUT_EFFECT
from .sizes import DOC_LAYOUT_BYTES, DOC_LAYOUT_FLOATS, FLOATING, ZOEDEPTH, Size

if TYPE_CHECKING:
    from ..resolve import Resolved

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

FIRST, LAST = "channels_first", "channels_last"
"""The layouts of an array, as transformers calls them."""


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

    def float_geometry(self, image: Bytes | Floats, size: Size) -> Floats:
        """The same for the classes that resize as torch does, most of them after rescaling; finished, therefore."""
        from .device import rescaled, resize

        kind = self.image_processor_type
        pixels: Any = np.ascontiguousarray(image.transpose(2, 0, 1))
        if kind == ZOEDEPTH:
            (rows, columns), pixels = self.reflected(*pixels.shape[1:]), self.rescale(pixels)
            pixels = np.pad(pixels, ((0, 0), (rows, rows), (columns, columns)), mode="reflect")
        elif self.do_rescale and kind not in DOC_LAYOUT_BYTES:
            pixels = rescaled(pixels, self.rescale_factor)
        antialias = kind not in (ZOEDEPTH, *DOC_LAYOUT_BYTES, DOC_LAYOUT_FLOATS)
        pixels = resize(pixels, size, self.resample, antialias=antialias, by_corners=kind == ZOEDEPTH)
        if kind == DOC_LAYOUT_FLOATS and self.do_resize:  # the bicubic filter swings out where colours change
            brightest = 255 if image.dtype == np.uint8 else 1
            pixels = pixels.clip(0, brightest * (self.rescale_factor if self.do_rescale else 1))
        for height, width in self.crops():
            pixels = cut(pixels, height, width)
        pixels = pixels.astype(np.float32)
        pixels = self.rescale_and_scale(pixels) if kind in DOC_LAYOUT_BYTES else self.scale(pixels)
        return np.pad(pixels.transpose(1, 2, 0), (*self.margins(*pixels.shape[1:]), (0, 0)))

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

    def scale(self, pixels: Floats, unit: float = 1) -> Floats:
        """By mean and deviation, given in this unit; the channels come first."""

        def aligned(values: float | tuple[float, ...] | None) -> Floats:
            per_channel = np.broadcast_to(np.array(values, dtype=np.float32) * np.float32(unit), 3)
            return per_channel.reshape(3, *[1] * (pixels.ndim - 1))

        if self.do_normalize:
            pixels = (pixels - aligned(self.image_mean)) / aligned(self.image_std)
        return pixels / aligned(self.image_std) if self.include_top else pixels

    def rescale_and_scale(self, pixels: Floats) -> Floats:
        """Both at once, as torchvision's classes do it: mean and deviation are brought to the pixels' unit."""
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
        """One image or many to `pixel_values`: an array (N, 3, H, W), or a list where the images come out unequal.

        Images are PIL's, files, or arrays and tensors of bytes (H W C, C H W or H W); arrays of floats from 0 to 1 are
        taken with `do_rescale=False`, and are resized as bytes by all classes but those that resize floats.
        `input_data_format` ("channels_first", "channels_last") says how arrays lie, where their shapes don't tell.
        `return_tensors` is "pt" or "np"; `overrides` are settings of the processor (`size=...`, `do_resize=False`) for
        this call.
        """
        if return_tensors not in (None, "np", "pt"):
            raise UsageError(f"return_tensors is 'pt' or 'np', not '{return_tensors}'.")
        if input_data_format not in (None, FIRST, LAST):
            raise UsageError(f"input_data_format is '{FIRST}' or '{LAST}', not {input_data_format!r}.")
        processor = self.changed(**overrides) if overrides else self
        each = [processor.finish(image, input_data_format) for image in listed(images)]
        alike = len({pixels.shape for pixels in each}) == 1
        values: Any = np.stack(each) if alike and return_tensors else each
        if return_tensors == "pt":
            import torch

            values = torch.from_numpy(values) if alike else [torch.from_numpy(pixels) for pixels in each]
        return BatchFeature(pixel_values=values)

    def preprocess(self, images: Any, return_tensors: str | None = None, **settings: Any) -> BatchFeature:
        """The call, by its other name."""
        return self(images, return_tensors, **settings)

    def finish(self, image: Any, layout: str | None = None) -> Floats:
        """One image of any kind, as the model takes it: 3 H W."""
        if isinstance(image, (str, Path)):
            image = decode(image)
        if not isinstance(image, Image.Image):
            pixels = as_pixels(np.asarray(image), layout, may_be_unit=not self.do_rescale)
            if pixels.dtype != np.uint8:
                return self.finish_unit(pixels)
            image = Image.fromarray(pixels)
        if self.do_convert_rgb and image.has_transparency_data:
            white = Image.new("RGBA", image.size, (255, 255, 255, 255))
            image = Image.alpha_composite(white, image.convert("RGBA"))
        return self.normalize(self.geometry(to_rgb(image))[None])[0]

    def finish_unit(self, pixels: Floats) -> Floats:
        """The same for floats from 0 to 1 (H W 3), which stay floats where no class of Pillow's has to resize them."""
        height, width = self.resize_target(*pixels.shape[:2])
        if self.image_processor_type in FLOATING:
            return self.normalize(self.float_geometry(pixels, (height, width))[None])[0]
        if self.do_resize:
            # As published, through bytes, also to its own size; they are brought back to 0 to 1 after that.
            image = Image.fromarray((pixels.astype(np.float64) * 255).astype(np.float32).astype(np.uint8))
            return dataclasses.replace(self, do_rescale=True, rescale_factor=1 / 255, rescale_offset=False).finish(
                image
            )
        for size in self.crops():
            pixels = crop(pixels, size)
        pixels = self.scale(
            pixels.astype(np.float32)[..., :: -1 if self.do_flip_channel_order else 1].transpose(2, 0, 1)
        )
        return np.pad(pixels, ((0, 0), *self.margins(*pixels.shape[1:])))

    def changed(self, **settings: Any) -> ImageProcessor:
        """The same processor with other settings, in any of the forms that a config may have them in.

        Keywords of transformers that say how to compute, not what, are taken and have no effect.
        """
        settings = {key: value for key, value in settings.items() if not is_without_effect(key, value)}
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


def is_without_effect(key: str, value: Any) -> bool:
    """Whether a keyword of transformers' changes nothing here; one that would there, and can't here, is refused."""
    if key == "data_format" and value not in (None, FIRST):
        raise UsageError(f"pixel_values are ({FIRST}) as models take them; data_format={value!r} can't be had.")
    if key in OF_LOADING and value:
        raise UsageError(f"{key} has no effect on an image processor; {OF_LOADING[key]}.")
    return key in WITHOUT_EFFECT or key in OF_LOADING or key == "data_format"


def as_pixels(pixels: npt.NDArray[Any], layout: str | None, *, may_be_unit: bool) -> npt.NDArray[Any]:
    """An array in this layout, or else in whatever layout its shape tells, as H W 3: bytes, or floats from 0 to 1."""
    if pixels.ndim == 2:
        pixels, layout = pixels[None], FIRST
    sides = {FIRST: pixels.shape[:1], LAST: pixels.shape[-1:]}
    if pixels.ndim != 3 or not {1, 3} & set(sides.get(layout or "", pixels.shape[::2])):
        raise UsageError(f"An array of shape {pixels.shape} is no image: H x W x 3, 3 x H x W or H x W is.")
    if layout == FIRST or (layout is None and pixels.shape[0] in (1, 3)):
        pixels = pixels.transpose(1, 2, 0)
    pixels = np.broadcast_to(pixels, (*pixels.shape[:2], 3))
    if pixels.dtype == np.uint8:
        return pixels
    low, high = pixels.min(initial=0), pixels.max(initial=0)
    whole = np.array_equal(pixels, np.trunc(pixels))
    if low < 0 or high > 255 or not (whole or (high <= 1 and may_be_unit)):
        raise UsageError(f"Pixels from {low} to {high} are neither bytes nor, with do_rescale=False, from 0 to 1.")
    if whole:
        return pixels.astype(np.uint8)
    return pixels if pixels.dtype == np.float64 else pixels.astype(np.float32)


def crop(pixels: npt.NDArray[Any], size: Size) -> npt.NDArray[Any]:
    """The middle of H W C as Pillow cuts it, zeros around it where it is too small; an odd line goes before it."""
    beyond = [max(wanted - side, 0) for wanted, side in zip(size, pixels.shape, strict=False)]
    pixels = np.pad(pixels, (*((more - more // 2, more // 2) for more in beyond), (0, 0)))
    top, left = ((side - wanted) // 2 for wanted, side in zip(size, pixels.shape, strict=False))
    return pixels[top : top + size[0], left : left + size[1]]


def cut(pixels: Floats, height: int, width: int) -> Floats:
    """The middle of C H W as torchvision cuts it, zeros around it where it is too small; an odd line goes after it."""
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
