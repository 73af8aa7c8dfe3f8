"""Perceptually uniform colours: equal steps look equally large, in OKLab (Ottosson 2020)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]


def oklab_to_bytes(lab: Floats) -> Bytes:
    """OKLab (..., 3) to sRGB bytes; colours outside sRGB are clipped."""
    lightness, a, b = np.moveaxis(lab, -1, 0)
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    linear = np.stack(
        [
            4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
            -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
            -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
        ],
        -1,
    ).clip(0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return (encoded * 255 + 0.5).astype(np.uint8)


@lru_cache(maxsize=1)
def ramp() -> Bytes:
    """256 colours from deep violet over red to pale yellow, with linearly rising lightness."""
    t = np.linspace(0, 1, 256, dtype=np.float32)
    hue = np.deg2rad(285 + 185 * t)
    chroma = 0.05 + 0.13 * np.sin(np.pi * t**0.9)
    return oklab_to_bytes(np.stack([0.17 + 0.76 * t, chroma * np.cos(hue), chroma * np.sin(hue)], -1))


def heat(values: Floats) -> Bytes:
    """Values in 0..1 (H, W) as colours of the ramp."""
    return ramp()[(values.clip(0, 1) * 255 + 0.5).astype(np.uint8)]


def three_to_rgb(values: Floats) -> Bytes:
    """Three values in 0..1 per position (H, W, 3) as one colour: the first sets its lightness, the others its hue."""
    first, second, third = np.moveaxis(values.clip(0, 1), -1, 0)
    return oklab_to_bytes(np.stack([0.30 + 0.58 * first, 0.28 * (second - 0.5), 0.28 * (third - 0.5)], -1))
