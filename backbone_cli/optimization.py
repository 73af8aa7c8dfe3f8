"""Make a loaded model fast for inference without changing its results beyond rounding.

On x86 processors, matrix products and convolutions run in oneDNN with weights packed once, activations fused in, and
BatchNorm folded into the preceding convolution. torch's default, MKL, takes a slow path on AMD, at most half as fast;
on Intel it is on par, but fusing still pays. The rule is fixed, not measured, so that the same machine always gives the
same bytes. Optimizing can't be undone: afterwards the module is for forward passes only.
"""

from __future__ import annotations

import itertools
import logging
import platform
from collections.abc import Callable, Iterator
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from .models.layers import Mlp

log = logging.getLogger(__name__)

# Activations that oneDNN can fuse into a convolution, under its names.
FUSED: dict[type[nn.Module], str] = {nn.ReLU: "relu", nn.SiLU: "swish"}

# Parts that timm's blocks call directly one after another; what happens between two chains doesn't matter.
TIMM_CHAINS = {
    "BasicBlock": (("conv1", "bn1", "drop_block", "act1"), ("conv2", "bn2")),
    "Bottleneck": (("conv1", "bn1", "act1"), ("conv2", "bn2", "drop_block", "act2"), ("conv3", "bn3")),
    "ConvNormAct": (("conv", "bn"),),
    "DepthwiseSeparableConv": (("conv_dw", "bn1"), ("conv_pw", "bn2")),
    "EfficientNetFeatures": (("conv_stem", "bn1"),),
    "FeatureListNet": (("conv1", "bn1", "act1"),),
    "InvertedResidual": (("conv_pw", "bn1"), ("conv_dw", "bn2"), ("conv_pwl", "bn3")),
    "MobileNetV3Features": (("conv_stem", "bn1", "act1"),),
}


def optimize(model: nn.Module) -> nn.Module:
    """Optimize a model in place and return it. Call it once, with weights loaded, on the final device and dtype."""
    model.eval().requires_grad_(False)
    enable_size_caches(model)
    parameter = next(model.parameters(), None)
    if parameter is None:
        return model
    if parameter.device.type == "cuda":
        return model.to(memory_format=torch.channels_last)
    if parameter.device.type == "cpu" and can_pack(parameter.dtype):
        counts = fold_norms(model), pack_convolutions(model), pack_linears(model)
        detach_from_mmap(model)
        log.debug("Folded %d norms; packed %d convolutions and %d linear layers for oneDNN.", *counts)
    return model


def enable_size_caches(model: nn.Module) -> None:
    """Cache the results of the methods that a module lists in `size_cached_methods`, until the input size changes.

    Those results depend only on weights and input size. Images of one size usually follow each other, and an attention
    bias can be as large as everything it is added to, so only the latest is kept.
    """
    for module in model.modules():
        for name in getattr(module, "size_cached_methods", ()):
            setattr(module, name, lru_cache(maxsize=1)(getattr(module, name)))


def can_pack(dtype: torch.dtype) -> bool:
    """Whether this torch has oneDNN's packed operators for the dtype on this processor."""
    if not torch.backends.mkldnn.is_available() or platform.machine() not in ("x86_64", "AMD64"):
        return False
    ops = torch.ops.mkldnn
    names = ("_reorder_linear_weight", "_linear_pointwise", "_reorder_convolution_weight", "_convolution_pointwise")
    if not all(hasattr(ops, name) for name in names):
        return False
    return dtype == torch.float32 or (dtype == torch.bfloat16 and bool(ops._is_mkldnn_bf16_supported()))


def module_chains(model: nn.Module) -> Iterator[tuple[nn.Module, list[str]]]:
    """Parents, with the names of children that run one after another and are used nowhere else."""
    for module in model.modules():
        if isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward:
            yield module, list(module._modules)
        elif type(module).__module__.startswith("timm."):
            for names in TIMM_CHAINS.get(type(module).__name__, ()):
                yield module, [name for name in names if isinstance(getattr(module, name, None), nn.Module)]


def adjacent_modules(model: nn.Module) -> Iterator[tuple[nn.Module, str, str]]:
    """Every pair of children that run directly one after the other, as (parent, name, name)."""
    for parent, names in module_chains(model):
        active = [name for name in names if type(getattr(parent, name)) is not nn.Identity]
        for first, second in itertools.pairwise(active):
            yield parent, first, second


def fold_norms(model: nn.Module) -> int:
    """Fold BatchNorm, in inference one factor and offset per channel, into the preceding convolution."""
    count = 0
    for parent, first, second in list(adjacent_modules(model)):
        conv, norm = getattr(parent, first), getattr(parent, second)
        if type(conv) is nn.Conv2d and isinstance(norm, nn.BatchNorm2d) and norm.track_running_stats:
            if type(norm) is not nn.BatchNorm2d and type(norm).__name__ != "BatchNormAct2d":
                continue
            setattr(parent, first, fuse_conv_bn_eval(conv, norm))
            setattr(parent, second, getattr(norm, "act", nn.Identity()))  # timm's norms include their activation
            count += 1
    return count


def pack_convolutions(model: nn.Module) -> int:
    """Pack the weights of convolutions, and fuse an activation that directly follows."""
    fused: dict[nn.Module, str] = {}
    for parent, first, second in list(adjacent_modules(model)):
        conv, act = getattr(parent, first), getattr(parent, second)
        if type(conv) is nn.Conv2d and type(act) in FUSED:
            fused[conv] = FUSED[type(act)]
            setattr(parent, second, nn.Identity())

    def pack(module: nn.Module) -> nn.Module | None:
        if type(module) is not nn.Conv2d or module.padding_mode != "zeros" or isinstance(module.padding, str):
            return None
        return PackedConv(module, fused.get(module, "none"))

    return replace_modules(model, pack)


def pack_linears(model: nn.Module) -> int:
    """Pack the weights of linear layers, and fuse the GELU of an MLP into its first one."""
    fused: dict[nn.Module, str] = {}
    for module in model.modules():
        is_mlp = type(module) is Mlp or f"{type(module).__module__}.{type(module).__name__}" == "timm.layers.mlp.Mlp"
        if is_mlp and type(module.fc1) is nn.Linear and (variant := gelu_variant(module.act)) is not None:
            fused[module.fc1] = variant
            module.act = nn.Identity()
    return replace_modules(model, lambda m: PackedLinear(m, fused.get(m)) if type(m) is nn.Linear else None)


def gelu_variant(act: nn.Module | Tensor) -> str | None:
    if type(act) is nn.GELU:
        return act.approximate
    return "none" if f"{type(act).__module__}.{type(act).__name__}" == "timm.layers.activations.GELU" else None


def replace_modules(model: nn.Module, make: Callable[[nn.Module], nn.Module | None]) -> int:
    """Replace each module for which `make` returns another one; return how many were replaced."""
    count = 0
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if (replacement := make(child)) is not None:
                setattr(parent, name, replacement)
                count += 1
    return count


def detach_from_mmap(model: nn.Module) -> None:
    """Copy the tensors that were not packed, so that they don't keep the whole weight file mapped in memory."""
    for tensor in itertools.chain(model.parameters(), model.buffers()):
        tensor.data = tensor.data.clone()


class Packed(nn.Module):
    """A layer whose weight is in oneDNN's own layout. To other modules it looks like the layer it replaces."""

    def __init__(self, layer: nn.Linear | nn.Conv2d) -> None:
        super().__init__()
        self.bias = layer.bias
        self.plain: Tensor | None = None
        self.packed: Tensor | None = None
        for name in layer.__constants__:  # features, channels, strides...
            setattr(self, name, getattr(layer, name))

    @property
    def weight(self) -> Tensor:
        """The original weight. Some timm layers read another layer's weight, or its dtype and device."""
        if self.plain is None:
            assert self.packed is not None
            self.plain = self.packed.to_dense()
        return self.plain


class PackedLinear(Packed):
    """A linear layer, with a fused GELU if there was one."""

    # oneDNN wants a typical number of rows; the layout works for others, too.
    ROWS = 2048

    def __init__(self, linear: nn.Linear, gelu: str | None = None) -> None:
        super().__init__(linear)
        self.packed = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), self.ROWS)
        self.fused = ("none", "") if gelu is None else ("gelu", gelu)

    def forward(self, x: Tensor) -> Tensor:
        kind, variant = self.fused
        return torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, kind, [], variant)


class PackedConv(Packed):
    """A convolution, packed for its first input size, with a fused activation if there was one."""

    def __init__(self, conv: nn.Conv2d, fused: str) -> None:
        super().__init__(conv)
        self.fused = fused
        self.geometry = (list(conv.padding), list(conv.stride), list(conv.dilation), conv.groups)
        self.plain = conv.weight.detach()

    def forward(self, x: Tensor) -> Tensor:
        if self.packed is None:
            self.packed = torch.ops.mkldnn._reorder_convolution_weight(self.plain, *self.geometry, list(x.shape))
            self.plain = None
        return torch.ops.mkldnn._convolution_pointwise(x, self.packed, self.bias, *self.geometry, self.fused, [], "")
