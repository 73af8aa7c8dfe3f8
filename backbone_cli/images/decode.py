"""From an image file to RGB pixels, or to one sentence that says why not.

An image is read as transformers' `load_image` reads it: the first frame, turned as its EXIF orientation says, then
converted to RGB by Pillow, which drops transparency. Two things are otherwise: of 16 bits a channel the upper 8 are
taken in grey images, as Pillow itself does in coloured ones (its own conversion of grey clips at 255), and an EXIF
block that can't be read costs the orientation, not the image.
"""

from __future__ import annotations

import io
import logging
import os
import re
import stat
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from ..errors import ImageError, first_line
from .plan import MAX_PIXELS

Source = Path | str | bytes | BinaryIO

# What Pillow's readers raise on damaged files, each in its own way.
DAMAGE = (
    OSError,
    SyntaxError,
    ArithmeticError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    AssertionError,
    EOFError,
    RuntimeError,
    SystemError,
    struct.error,
    zlib.error,
)

# Formats whose readers Pillow always has at hand; the others take a moment to import.
COMMON = ("JPEG", "PNG", "GIF", "BMP", "PPM")
# Formats that Pillow hands to another program, or names without being able to read them.
REFUSED = frozenset(("EPS", "WMF", "BUFR", "GRIB", "HDF5", "MPEG"))

HUSHED = ("ignore", None, Warning, re.compile(r"PIL\."), 0)
# Without a handler, what Pillow logs as an error would go to standard error.
logging.getLogger("PIL").addHandler(logging.NullHandler())


def decode(source: Source, *, max_pixels: int = MAX_PIXELS, draft: tuple[int, int] | None = None) -> Image.Image:
    """An image file, or an image file's bytes, as an RGB image.

    An image of more than `max_pixels` is refused before it is decoded. With `draft`, a JPEG is decoded at half, a
    quarter or an eighth of its size where that leaves at least `draft` (height, width): faster, and not exact.
    Pillow's warnings are switched off for the process: what they say is an error here, or of no use.
    """
    if HUSHED not in warnings.filters:
        warnings.filterwarnings("ignore", module=HUSHED[3].pattern)
    if Image.MAX_IMAGE_PIXELS and max_pixels > 2 * Image.MAX_IMAGE_PIXELS:
        Image.MAX_IMAGE_PIXELS = max_pixels  # whoever asks for larger images shall get them from Pillow, too
    name = str(source) if isinstance(source, (str, os.PathLike)) else "The image"
    with open_stream(source, name) as stream, blame(name):
        image = identify(stream)
        check_size(image, name, max_pixels)
        if draft:
            shrink(image, draft)
        image.load()
        check_size(image, name, max_pixels)  # some headers say one thing, and the pixels another
        turn(image)
        return to_rgb(image)


@contextmanager
def open_stream(source: Source, name: str) -> Iterator[BinaryIO]:
    if not isinstance(source, (str, os.PathLike)):
        yield io.BytesIO(source if isinstance(source, bytes) else source.read())
        return
    path = Path(source)
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe or a device may wait for ever
            raise ImageError(f"{name} is not a file.")
        stream = path.open("rb")
    except (OSError, ValueError) as error:
        raise ImageError(f"{name} can't be read: {getattr(error, 'strerror', None) or error}.") from error
    with stream:
        yield stream


@contextmanager
def blame(name: str) -> Iterator[None]:
    """Turn whatever a damaged file makes Pillow raise into one sentence about that file."""
    try:
        yield
    except UnidentifiedImageError as error:
        raise ImageError(f"{name} is not an image, or of a format that is not read here.") from error
    except Image.DecompressionBombError as error:
        raise ImageError(
            f"{name} is too large ({first_line(error).rstrip('.')}); raise --max-pixels (max_pixels=...) to read it."
        ) from error
    except MemoryError as error:
        raise ImageError(f"{name} does not fit into the memory.") from error
    except DAMAGE as error:
        raise ImageError(f"{name} is damaged and can't be decoded ({first_line(error)}).") from error


def identify(stream: BinaryIO) -> Image.Image:
    """The image in a file, its header read and no pixel yet."""
    if not stream.read(1):
        raise UnidentifiedImageError("the file is empty")
    try:
        return Image.open(stream, formats=COMMON)
    except UnidentifiedImageError:
        Image.init()
        return Image.open(stream, formats=[name for name in Image.ID if name not in REFUSED])


def check_size(image: Image.Image, name: str, max_pixels: int) -> None:
    width, height = image.size
    if not width * height:
        raise ImageError(f"{name} has no pixels.")
    if width * height > max_pixels:
        raise ImageError(
            f"{name} has {width * height} pixels ({width}x{height}), more than --max-pixels allows ({max_pixels})."
        )


def shrink(image: Image.Image, least: tuple[int, int]) -> None:
    """Have a JPEG decoded smaller, but not below this height and width."""
    height, width = least
    try:
        sideways = image.getexif().get(ExifTags.Base.Orientation, 1) >= 5
    except DAMAGE:
        sideways = False
    image.draft(None, (height, width) if sideways else (width, height))


def turn(image: Image.Image) -> None:
    """Put an image upright, as its EXIF orientation says."""
    with suppress(*DAMAGE):  # of the EXIF block: the pixels are whole, and stay as they are
        ImageOps.exif_transpose(image, in_place=True)


def to_rgb(image: Image.Image) -> Image.Image:
    """An image of any of Pillow's modes as RGB."""
    if image.mode == "RGB":
        return image
    if image.mode == "I" or image.mode.startswith("I;16"):
        # Pillow opens 16 bits of grey in either mode, by format.
        grey = np.asarray(image).clip(0, 65535) >> 8
        image = Image.fromarray(grey.astype(np.uint8))
    return image.convert("RGB")
