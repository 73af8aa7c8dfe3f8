"""From an image file to RGB pixels, or to a sentence about why it can't be read.

An image is read as transformers' `load_image` reads it: the first frame, with its EXIF orientation applied, then
converted to RGB by Pillow, which drops transparency. Two things differ: 16-bit grey images keep their upper 8 bits, as
Pillow itself does for colour images (its own conversion of grey clips at 255), and an unreadable EXIF block costs the
orientation, not the image.
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
from .sizes import MAX_PIXELS

Source = Path | str | bytes | BinaryIO

# What Pillow's various readers raise on damaged files.
DECODE_ERRORS = (
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

# Formats whose readers are fast to import; all others are tried only if none of these fits.
COMMON = ("JPEG", "PNG", "GIF", "BMP", "PPM")
# Formats that Pillow hands to another program, or recognizes but can't read.
REFUSED = frozenset(("EPS", "WMF", "BUFR", "GRIB", "HDF5", "MPEG"))

PILLOW_WARNINGS = ("ignore", None, Warning, re.compile(r"PIL\."), 0)
# Without a handler, what Pillow logs as an error would go to standard error.
logging.getLogger("PIL").addHandler(logging.NullHandler())


def decode(source: Source, *, max_pixels: int = MAX_PIXELS, draft: tuple[int, int] | None = None) -> Image.Image:
    """An image file, or an image file's bytes, as an RGB image.

    An image of more than `max_pixels` is refused before it is decoded. With `draft`, a JPEG is decoded at 1/2, 1/4 or
    1/8 of its size as long as that leaves at least `draft` (height, width): faster, but not exact. Pillow's warnings
    are turned off for the process: they are errors here, or of no use.
    """
    if PILLOW_WARNINGS not in warnings.filters:
        warnings.filterwarnings("ignore", module=PILLOW_WARNINGS[3].pattern)
    if Image.MAX_IMAGE_PIXELS and max_pixels > 2 * Image.MAX_IMAGE_PIXELS:
        Image.MAX_IMAGE_PIXELS = max_pixels  # so that Pillow allows them, too
    name = str(source) if isinstance(source, (str, os.PathLike)) else "The image"
    with open_stream(source, name) as stream, translate_errors(name):
        image = identify(stream)
        check_size(image, name, max_pixels)
        if draft:
            draft_decode(image, draft)
        image.load()
        check_size(image, name, max_pixels)  # some headers don't match the pixels
        apply_orientation(image)
        return to_rgb(image)


@contextmanager
def open_stream(source: Source, name: str) -> Iterator[BinaryIO]:
    if not isinstance(source, (str, os.PathLike)):
        yield io.BytesIO(source if isinstance(source, bytes) else source.read())
        return
    path = Path(source)
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe or a device may block forever
            raise ImageError(f"{name} is not a file.")
        stream = path.open("rb")
    except (OSError, ValueError) as error:
        raise ImageError(f"{name} can't be read: {getattr(error, 'strerror', None) or error}.") from error
    with stream:
        yield stream


@contextmanager
def translate_errors(name: str) -> Iterator[None]:
    """Turn whatever Pillow raises on a damaged file into an ImageError about that file."""
    try:
        yield
    except UnidentifiedImageError as error:
        raise ImageError(f"{name} is not an image, or its format is not supported.") from error
    except Image.DecompressionBombError as error:
        raise ImageError(
            f"{name} is too large ({first_line(error).rstrip('.')}); raise --max-pixels (max_pixels=...) to read it."
        ) from error
    except MemoryError as error:
        raise ImageError(f"{name} does not fit into memory.") from error
    except DECODE_ERRORS as error:
        raise ImageError(f"{name} is damaged and can't be decoded ({first_line(error)}).") from error


def identify(stream: BinaryIO) -> Image.Image:
    """Open an image, reading only its header."""
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


def draft_decode(image: Image.Image, least: tuple[int, int]) -> None:
    """Let Pillow decode a JPEG at a smaller scale, but not below this height and width."""
    height, width = least
    try:
        sideways = image.getexif().get(ExifTags.Base.Orientation, 1) >= 5
    except DECODE_ERRORS:
        sideways = False
    image.draft(None, (height, width) if sideways else (width, height))


def apply_orientation(image: Image.Image) -> None:
    """Rotate or flip an image as its EXIF orientation says."""
    with suppress(*DECODE_ERRORS):  # a damaged EXIF block; the pixels are fine
        ImageOps.exif_transpose(image, in_place=True)


def to_rgb(image: Image.Image) -> Image.Image:
    """An image of any Pillow mode as RGB."""
    if image.mode == "RGB":
        return image
    if image.mode == "I" or image.mode.startswith("I;16"):
        # Pillow opens 16-bit grey in either mode, depending on the format.
        grey = np.asarray(image).clip(0, 65535) >> 8
        image = Image.fromarray(grey.astype(np.uint8))
    return image.convert("RGB")
