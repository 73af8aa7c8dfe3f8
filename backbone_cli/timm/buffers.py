"""Buffers of timm's networks that no checkpoint holds."""

from __future__ import annotations

from typing import Any

import torch

from ..checkpoint import set_tensor


def compute_buffers(net: Any) -> None:
    """Compute the buffers that no checkpoint holds (position tables, masks) of a network on the meta device."""
    saved = net.state_dict(keep_vars=True)
    if {id(buffer) for buffer in net.buffers()} <= {id(tensor) for tensor in saved.values()}:
        return
    net.to_empty(device="cpu")
    with torch.device("cpu"):
        for module in net.modules():
            if hasattr(module, "init_non_persistent_buffers"):
                module.init_non_persistent_buffers()
    for name, tensor in saved.items():
        set_tensor(net, name, tensor)
