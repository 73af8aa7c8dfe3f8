"""The pixel work that needs torch: normalizing on the model's device, and the resizes that torch defines."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from .defaults import BICUBIC, BILINEAR
from .lookup import look_up

MODES = {BILINEAR: "bilinear", BICUBIC: "bicubic"}


def normalize_on_device(batch: Tensor, table: Tensor) -> Tensor:
    """Bytes (N, H, W, C) to the model's input (N, C, H, W), on their device; the table is the processor's.

    A table lookup gives the same bits on every device. Floats are model input already.
    """
    if batch.is_floating_point():
        return batch
    if batch.device.type == "cpu":
        return torch.from_numpy(look_up(batch.numpy(), table.numpy()))
    return look_up_on_device(batch, table)


def look_up_on_device(batch: Tensor, table: Tensor) -> Tensor:
    """`look_up` in torch, which takes twice as long as numpy on a CPU."""
    # As one flat table: byte b of channel c is at 256 c + b.
    first = torch.arange(0, table.numel(), 256, device=batch.device)
    return table.take(batch.movedim(-1, 1) + first[:, None, None])


def rescale(pixels: npt.NDArray[Any], factor: float) -> npt.NDArray[np.float32]:
    """Pixels times a factor, rounded as torch rounds: once, from float32."""
    return (torch.from_numpy(pixels) * factor).numpy()


def resize(
    pixels: npt.NDArray[Any], size: tuple[int, int], resample: int, *, antialias: bool, align_corners: bool = False
) -> npt.NDArray[Any]:
    """(C, H, W) to another size; bytes stay bytes and floats stay floats."""
    if pixels.shape[1:] == size:
        return pixels
    batch = torch.from_numpy(pixels)[None]
    return interpolate(batch, size, mode=MODES[resample], align_corners=align_corners, antialias=antialias)[0].numpy()
