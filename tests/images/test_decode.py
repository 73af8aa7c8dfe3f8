"""Images of every mode and format, and files that are damaged or not images."""

from __future__ import annotations

import io
import logging
import os
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image
from transformers.image_utils import load_image

from backbone_cli.errors import ImageError
from backbone_cli.images.decode import decode
from tests.images.oracle import noise

PHOTO = noise(37, 53).resize((106, 74), Image.Resampling.BICUBIC)


def encoded(image, form, **options):
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def with_alpha(mode):
    alpha = Image.fromarray(np.tile(np.arange(106, dtype=np.uint8), (74, 1)))
    image = PHOTO.convert("RGB" if mode == "RGBA" else "L")
    image.putalpha(alpha)
    return image


def palette(transparency=None):
    image = PHOTO.quantize(50)
    if transparency is not None:
        image.info["transparency"] = transparency
    return image


def exif(orientation):
    data = Image.Exif()
    data[0x0112] = orientation
    return data.tobytes()


FILES = {
    "jpeg": encoded(PHOTO, "JPEG"),
    "jpeg-grey": encoded(PHOTO.convert("L"), "JPEG"),
    "jpeg-cmyk": encoded(PHOTO.convert("CMYK"), "JPEG"),
    "jpeg-progressive": encoded(PHOTO, "JPEG", progressive=True, subsampling=0),
    "mpo": encoded(PHOTO, "MPO", save_all=True, append_images=[PHOTO.rotate(180)]),
    "png": encoded(PHOTO, "PNG"),
    "png-1": encoded(PHOTO.convert("1"), "PNG"),
    "png-grey": encoded(PHOTO.convert("L"), "PNG"),
    "png-grey-alpha": encoded(with_alpha("LA"), "PNG"),
    "png-alpha": encoded(with_alpha("RGBA"), "PNG"),
    "png-palette": encoded(palette(), "PNG"),
    "png-palette-transparent": encoded(palette(3), "PNG"),
    "png-palette-transparencies": encoded(palette(bytes(range(50))), "PNG"),
    "png-rgb-transparent": encoded(PHOTO, "PNG", transparency=(1, 2, 3)),
    "png-animated": encoded(PHOTO, "PNG", save_all=True, append_images=[PHOTO.rotate(180)]),
    "gif": encoded(PHOTO, "GIF"),
    "gif-animated": encoded(PHOTO, "GIF", save_all=True, append_images=[PHOTO.rotate(180)]),
    "webp": encoded(PHOTO, "WEBP"),
    "webp-alpha": encoded(with_alpha("RGBA"), "WEBP"),
    "webp-animated": encoded(PHOTO, "WEBP", save_all=True, append_images=[PHOTO.rotate(180)]),
    "bmp": encoded(PHOTO, "BMP"),
    "tiff": encoded(PHOTO, "TIFF"),
    "tiff-lzw": encoded(PHOTO, "TIFF", compression="tiff_lzw"),
    "tiff-cmyk": encoded(PHOTO.convert("CMYK"), "TIFF"),
    "tiff-lab": encoded(Image.merge("LAB", PHOTO.split()), "TIFF"),
    "tiff-float": encoded(Image.fromarray(np.linspace(-20, 300, 106 * 74, dtype=np.float32).reshape(74, 106)), "TIFF"),
    "tiff-pages": encoded(PHOTO, "TIFF", save_all=True, append_images=[PHOTO.rotate(180)]),
    "ppm": encoded(PHOTO, "PPM"),
    "pgm": encoded(PHOTO.convert("L"), "PPM"),
    "jpeg2000": encoded(PHOTO, "JPEG2000"),
    "ico": encoded(PHOTO, "ICO", sizes=[(64, 64)]),
    "tga": encoded(PHOTO, "TGA"),
    "pcx": encoded(PHOTO, "PCX"),
    **{f"jpeg-rotated-{n}": encoded(PHOTO, "JPEG", exif=exif(n)) for n in range(1, 10)},
    **{f"{form}-rotated": encoded(PHOTO, form, exif=exif(6)) for form in ("PNG", "WEBP", "TIFF")},
    "png-palette-rotated": encoded(palette(), "PNG", exif=exif(5)),
}


@pytest.mark.parametrize("name", FILES)
def test_every_format_equals_transformers(name, tmp_path):
    (path := tmp_path / name).write_bytes(FILES[name])
    with warnings.catch_warnings(), Image.open(path) as opened:
        warnings.simplefilter("ignore")
        expected = np.asarray(load_image(opened))
    for source in (path, str(path), FILES[name], io.BytesIO(FILES[name])):
        image = decode(source)
        assert image.mode == "RGB"
        assert np.array_equal(np.asarray(image), expected)


@pytest.mark.parametrize("form", ["PNG", "TIFF", "PPM", "JPEG2000", "big-endian"])
def test_16_bit_grey_keeps_the_upper_8_bits(form):
    grey = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64) * 16
    if form == "big-endian":
        image = Image.frombytes("I;16B", (64, 64), grey.astype(">u2").tobytes())
        file = encoded(image, "TIFF")
    else:
        file = encoded(Image.fromarray(grey), form, **({"irreversible": False} if form == "JPEG2000" else {}))
    actual = np.asarray(decode(file))
    assert np.array_equal(actual, np.repeat((grey >> 8).astype(np.uint8)[..., None], 3, -1))


def test_16_bit_colour_keeps_the_upper_8_bits():
    colours = np.random.default_rng(0).integers(0, 65536, (9, 11, 3), dtype=np.uint16)
    assert np.array_equal(np.asarray(decode(png_16_bit(colours))), (colours >> 8).astype(np.uint8))


def png_16_bit(colours):
    """A 16-bit colour PNG, which Pillow reads but doesn't write."""
    height, width = colours.shape[:2]

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in colours)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def test_32_bit_integers_are_clipped_to_16_bits():
    values = np.array([[-5, 0, 255, 256, 65535, 70000]], dtype=np.int32)
    actual = np.asarray(decode(encoded(Image.fromarray(values), "TIFF")))
    assert actual[0, :, 0].tolist() == [0, 0, 0, 1, 255, 255]


# --- files that can't be decoded ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not an image"),
        (b"hello there, this is text", "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n", "not an image"),
        (FILES["jpeg"][: len(FILES["jpeg"]) // 2], "damaged"),
        (FILES["png"][: len(FILES["png"]) // 2], "damaged"),
        (FILES["webp"][:40], "damaged|not an image"),
        (FILES["tiff-lzw"][:-3000], "damaged|not an image"),
        (FILES["gif"][:1100], "damaged"),
        (FILES["bmp"][:600], "damaged"),
        (b"P6 0 0 255 ", "not an image|no pixels|damaged"),
        (b"P5 10 10 255 abc", "damaged"),
    ],
)
def test_damaged_files_and_other_files_are_refused(data, message, tmp_path):
    (path := tmp_path / "x.jpg").write_bytes(data)
    with pytest.raises(ImageError, match=rf"^{path} (is|has) .*({message}).*\.$"):
        decode(path)
    with pytest.raises(ImageError, match=r"^The image"):
        decode(data)


def test_paths_that_are_not_readable_files_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name, message in {
        "pipe": "is not a file",
        ".": "is not a file",
        "nothing.jpg": "No such file",
        "loop": "symbolic links",
        "\0": "can't be read",
    }.items():
        with pytest.raises(ImageError, match=message):
            decode(tmp_path / name)
    with pytest.raises(ImageError, match="is not a file"):
        decode("/dev/zero")


def png_claiming(width, height):
    """A PNG whose header claims a size that its data doesn't have."""
    valid = png_16_bit(np.zeros((1, 1, 3), np.uint16))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    crc = struct.pack(">I", zlib.crc32(b"IHDR" + header))
    return valid[:16] + header + crc + valid[33:]


def test_images_above_max_pixels_are_refused_before_decoding():
    data = encoded(Image.new("RGB", (200, 100)), "PNG")
    assert decode(data, max_pixels=20_000).size == (200, 100)
    with pytest.raises(ImageError, match=r"20000 pixels \(200x100\), more than --max-pixels allows \(19999\)"):
        decode(data, max_pixels=19_999)


@pytest.mark.parametrize("side", [12_000, 40_000, 2**31 - 1])  # Pillow warns, refuses, and overflows
def test_decompression_bombs_are_refused(side):
    with pytest.raises(ImageError, match="pixels"):
        decode(png_claiming(side, side), max_pixels=100_000_000)


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (0, 0)])
def test_images_without_pixels_are_refused(size):
    with pytest.raises(ImageError, match=r"The image (has no pixels|is damaged|is not an image)"):
        decode(png_claiming(*size))


def test_max_pixels_may_exceed_pillows_limit(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    data = encoded(Image.new("RGB", (30, 10)), "PNG")
    with pytest.raises(ImageError, match="raise --max-pixels"):
        decode(data, max_pixels=200)
    assert decode(data, max_pixels=300).size == (30, 10)


def test_pillow_emits_no_warnings_or_logs(capfd, monkeypatch):
    """By itself it would warn about the size, the palette and the EXIF block, and log an error about the samples."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        decode(FILES["png-palette-transparencies"])
        decode(encoded(PHOTO, "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff"))
        samples = struct.pack("<HHII", 277, 3, 1, 3)
        assert samples in FILES["tiff"]
        with pytest.raises(ImageError):
            decode(FILES["tiff"].replace(samples, struct.pack("<HHII", 277, 3, 1, 99)))
    assert capfd.readouterr() == ("", "")


def test_unreadable_exif_only_loses_the_orientation():
    for block in (b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"):
        image = decode(encoded(PHOTO, "JPEG", exif=block))
        assert np.array_equal(np.asarray(image), np.asarray(decode(FILES["jpeg"])))


@pytest.mark.parametrize("name", FILES)
def test_randomly_damaged_files_decode_or_raise_image_error(name):
    """Random bytes are overwritten, mostly near the header, and some files are cut short."""
    rng = np.random.default_rng(len(name))
    for trial in range(25):
        data = bytearray(FILES[name])
        for position in rng.integers(0, min(len(data), 400 if trial % 2 else len(data)), 4):
            data[position] = rng.integers(256)
        if trial % 3 == 0:
            del data[rng.integers(8, len(data)) :]
        try:
            assert decode(bytes(data), max_pixels=1_000_000).mode == "RGB"
        except ImageError as error:
            assert str(error).startswith("The image ")


def test_draft_decodes_smaller_but_not_below_the_limit():
    data = encoded(noise(20, 30).resize((480, 320)), "JPEG", exif=exif(6))
    assert decode(data).size == (320, 480)
    assert decode(data, draft=(100, 60)).size == (80, 120)
    assert decode(data, draft=(121, 60)).size == (160, 240)
    assert decode(data, draft=(60, 100)).size == (160, 240)
    assert decode(encoded(PHOTO, "PNG"), draft=(10, 10)).size == PHOTO.size


def test_pillows_global_settings_are_unchanged():
    from PIL import ImageFile

    assert not ImageFile.LOAD_TRUNCATED_IMAGES
    assert Image.MAX_IMAGE_PIXELS == 89_478_485
    assert logging.getLogger("PIL").level == logging.NOTSET
