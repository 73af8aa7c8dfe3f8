"""The pixel work that needs torch: normalising where the model is, and resizing floats."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from .published import BICUBIC, BILINEAR, NEAREST

MODES = {NEAREST: "nearest-exact", BILINEAR: "bilinear", BICUBIC: "bicubic"}


def normalize_on_device(batch: Tensor, table: Tensor) -> Tensor:
    """Bytes (N H W C) to the model's input (N C H W), on the device that both lie on; the table is `processor.table`.

    Looked up, so that every device gives the same bits. Floats are finished already, and only change their layout.
    """
    channels_first = batch.movedim(-1, 1)
    if batch.is_floating_point():
        return channels_first.contiguous()
    return torch.stack([row[bytes_.int()] for row, bytes_ in zip(table, channels_first.unbind(1), strict=True)], 1)


def rescaled(pixels: npt.NDArray[np.uint8], factor: float) -> npt.NDArray[np.float32]:
    """Bytes times a factor, rounded as torch rounds: once, from float32."""
    return (torch.from_numpy(pixels) * factor).numpy()


def resize_floats(
    pixels: npt.NDArray[np.float32], size: tuple[int, int], resample: int, *, by_corners: bool
) -> npt.NDArray[np.float32]:
    """C H W to another size: with the corners' centres kept in their places, or antialiased."""
    if pixels.shape[1:] == size:
        return pixels
    mode, batch = MODES[resample], torch.from_numpy(pixels)[None]
    if mode == "nearest-exact":
        return interpolate(batch, size, mode=mode)[0].numpy()
    return interpolate(batch, size, mode=mode, align_corners=by_corners, antialias=not by_corners)[0].numpy()
