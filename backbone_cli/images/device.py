"""The pixel work that needs torch: normalising where the model is, and the resizes that are torch's."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from .processor import look_up
from .published import BICUBIC, BILINEAR

MODES = {BILINEAR: "bilinear", BICUBIC: "bicubic"}


def normalize_on_device(batch: Tensor, table: Tensor) -> Tensor:
    """Bytes (N H W C) to the model's input (N C H W), on the device that both lie on; the table is `processor.table`.

    Looked up, so that every device gives the same bits. Floats are finished already, and only change their layout.
    """
    if batch.is_floating_point():
        return batch.movedim(-1, 1).contiguous()
    if batch.device.type == "cpu":
        return torch.from_numpy(look_up(batch.numpy(), table.numpy()))
    return gather(batch, table)


def gather(batch: Tensor, table: Tensor) -> Tensor:
    """The same look-up by torch, which on a CPU takes twice as long as numpy."""
    # One flat table: byte b of channel c is at 256 c + b.
    first = torch.arange(0, table.numel(), 256, device=batch.device)
    return table.take(batch.movedim(-1, 1) + first[:, None, None])


def rescaled(pixels: npt.NDArray[Any], factor: float) -> npt.NDArray[np.float32]:
    """Pixels times a factor, rounded as torch rounds: once, from float32."""
    return (torch.from_numpy(pixels) * factor).numpy()


def resize(
    pixels: npt.NDArray[Any], size: tuple[int, int], resample: int, *, antialias: bool, by_corners: bool = False
) -> npt.NDArray[Any]:
    """C H W to another size, bytes to bytes and floats to floats; with `by_corners`, the corners' centres stay."""
    if pixels.shape[1:] == size:
        return pixels
    batch = torch.from_numpy(pixels)[None]
    return interpolate(batch, size, mode=MODES[resample], align_corners=by_corners, antialias=antialias)[0].numpy()
