"""Makes a loaded model fast for inference, without changing what it computes beyond rounding.

On x86 processors matrix products and convolutions go to oneDNN with weights packed once, activations fused into them,
and BatchNorm folded into the convolution before it. torch's default, MKL, takes a slow path on AMD (half the speed or
less) and is even on Intel, where fusing still pays. The rule is fixed, not measured, so that the same machine always
gives the same bytes. What is done here can't be undone: the module is for forward passes only, from then on.
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

# What oneDNN calls the activations that it can do on its way out of a convolution.
FUSED: dict[type[nn.Module], str] = {nn.ReLU: "relu", nn.SiLU: "swish"}

# timm's blocks call their parts one after the other in these runs; what comes between the runs does not matter.
TIMM_RUNS = {
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
    """Make the model fast where it lies. Call it once, with the weights in place, on the device and in the dtype."""
    model.eval().requires_grad_(False)
    remember(model)
    parameter = next(model.parameters(), None)
    if parameter is None:
        return model
    if parameter.device.type == "cuda":
        return model.to(memory_format=torch.channels_last)
    if parameter.device.type == "cpu" and can_pack(parameter.dtype):
        counts = fold_norms(model), pack_convolutions(model), pack_linears(model)
        let_go_of_files(model)
        log.debug("Folded %d norms; packed %d convolutions and %d linear layers for oneDNN.", *counts)
    return model


def remember(model: nn.Module) -> None:
    """Compute once what follows from weights and sizes alone, until the size changes: what a module names in `by_size`.

    Images of one size come one after the other; and a bias can be as large as all that it is added to.
    """
    for module in model.modules():
        for name in getattr(module, "by_size", ()):
            setattr(module, name, lru_cache(maxsize=1)(getattr(module, name)))


def can_pack(dtype: torch.dtype) -> bool:
    """Whether this torch, on this processor, has oneDNN's packed operators for the dtype."""
    if not torch.backends.mkldnn.is_available() or platform.machine() not in ("x86_64", "AMD64"):
        return False
    ops = torch.ops.mkldnn
    names = ("_reorder_linear_weight", "_linear_pointwise", "_reorder_convolution_weight", "_convolution_pointwise")
    if not all(hasattr(ops, name) for name in names):
        return False
    return dtype == torch.float32 or (dtype == torch.bfloat16 and bool(ops._is_mkldnn_bf16_supported()))


def runs(model: nn.Module) -> Iterator[tuple[nn.Module, list[str]]]:
    """Where modules take what the one before them gives and nobody else does: their parent, and their names."""
    for module in model.modules():
        if isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward:
            yield module, list(module._modules)
        elif type(module).__module__.startswith("timm."):
            for names in TIMM_RUNS.get(type(module).__name__, ()):
                yield module, [name for name in names if isinstance(getattr(module, name, None), nn.Module)]


def neighbours(model: nn.Module) -> Iterator[tuple[nn.Module, str, str]]:
    """Every two that follow one another in a run, with nothing between them that does anything."""
    for parent, names in runs(model):
        busy = [name for name in names if type(getattr(parent, name)) is not nn.Identity]
        for first, second in itertools.pairwise(busy):
            yield parent, first, second


def fold_norms(model: nn.Module) -> int:
    """BatchNorm in inference is one factor and one offset a channel: move them into the convolution before it."""
    count = 0
    for parent, first, second in list(neighbours(model)):
        conv, norm = getattr(parent, first), getattr(parent, second)
        if type(conv) is nn.Conv2d and isinstance(norm, nn.BatchNorm2d) and norm.track_running_stats:
            if type(norm) is not nn.BatchNorm2d and type(norm).__name__ != "BatchNormAct2d":
                continue
            setattr(parent, first, fuse_conv_bn_eval(conv, norm))
            setattr(parent, second, getattr(norm, "act", nn.Identity()))  # timm's norms bring their activation along
            count += 1
    return count


def pack_convolutions(model: nn.Module) -> int:
    """Convolutions with packed weights; an activation right behind one becomes part of it."""
    fused: dict[nn.Module, str] = {}
    for parent, first, second in list(neighbours(model)):
        conv, act = getattr(parent, first), getattr(parent, second)
        if type(conv) is nn.Conv2d and type(act) in FUSED:
            fused[conv] = FUSED[type(act)]
            setattr(parent, second, nn.Identity())

    def pack(module: nn.Module) -> nn.Module | None:
        if type(module) is not nn.Conv2d or module.padding_mode != "zeros" or isinstance(module.padding, str):
            return None
        return PackedConv(module, fused.get(module, "none"))

    return replace(model, pack)


def pack_linears(model: nn.Module) -> int:
    """Linear layers with packed weights; the GELU of an MLP becomes part of its first one."""
    fused: dict[nn.Module, str] = {}
    for module in model.modules():
        is_mlp = type(module) is Mlp or f"{type(module).__module__}.{type(module).__name__}" == "timm.layers.mlp.Mlp"
        if is_mlp and type(module.fc1) is nn.Linear and (variant := gelu_variant(module.act)) is not None:
            fused[module.fc1] = variant
            module.act = nn.Identity()
    return replace(model, lambda m: PackedLinear(m, fused.get(m)) if type(m) is nn.Linear else None)


def gelu_variant(act: nn.Module | Tensor) -> str | None:
    if type(act) is nn.GELU:
        return act.approximate
    return "none" if f"{type(act).__module__}.{type(act).__name__}" == "timm.layers.activations.GELU" else None


def replace(model: nn.Module, make: Callable[[nn.Module], nn.Module | None]) -> int:
    """Put what `make` gives in the place of each module that it gives something for; return how many."""
    count = 0
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if (better := make(child)) is not None:
                setattr(parent, name, better)
                count += 1
    return count


def let_go_of_files(model: nn.Module) -> None:
    """Copy what was not packed, mostly small tensors: they alone would hold the whole weight file in memory."""
    for tensor in itertools.chain(model.parameters(), model.buffers()):
        tensor.data = tensor.data.clone()


class Packed(nn.Module):
    """A layer whose weight lies in oneDNN's own layout. To those around it, it looks as it did before."""

    def __init__(self, layer: nn.Linear | nn.Conv2d) -> None:
        super().__init__()
        self.bias = layer.bias
        self.plain: Tensor | None = None
        self.packed: Tensor | None = None
        for name in layer.__constants__:  # features, channels, strides...
            setattr(self, name, getattr(layer, name))

    @property
    def weight(self) -> Tensor:
        """As it was. Some of timm's layers use that of another one, or ask it for its dtype and device."""
        if self.plain is None:
            assert self.packed is not None
            self.plain = self.packed.to_dense()
        return self.plain


class PackedLinear(Packed):
    """A linear layer, with a GELU behind it where one was fused in."""

    # oneDNN wants to know about how many rows come at once; the layout is good for others, too.
    ROWS = 2048

    def __init__(self, linear: nn.Linear, gelu: str | None = None) -> None:
        super().__init__(linear)
        self.packed = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), self.ROWS)
        self.fused = ("none", "") if gelu is None else ("gelu", gelu)

    def forward(self, x: Tensor) -> Tensor:
        kind, variant = self.fused
        return torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, kind, [], variant)


class PackedConv(Packed):
    """A convolution, packed for the first size it sees, with a ReLU behind it where one was fused in."""

    def __init__(self, conv: nn.Conv2d, fused: str) -> None:
        super().__init__(conv)
        self.fused = fused
        self.how = (list(conv.padding), list(conv.stride), list(conv.dilation), conv.groups)
        self.plain = conv.weight.detach()

    def forward(self, x: Tensor) -> Tensor:
        if self.packed is None:
            self.packed = torch.ops.mkldnn._reorder_convolution_weight(self.plain, *self.how, list(x.shape))
            self.plain = None
        return torch.ops.mkldnn._convolution_pointwise(x, self.packed, self.bias, *self.how, self.fused, [], "")
