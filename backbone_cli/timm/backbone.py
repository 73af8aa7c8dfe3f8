"""Any model of timm (Wightman 2019, github.com/huggingface/pytorch-image-models) as a backbone.

timm builds the network, with its own `features_only=True` and up to the last requested stage. How stages are computed
depends on timm's wrapper around the network: a list of modules is run one by one, so that only requested maps are kept;
other networks return all maps at once. Whatever layout a network uses inside, maps are B C H W.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
import re
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from copy import copy
from functools import partial
from typing import Any

import timm
import torch
from timm.layers.norm_act import freeze_batch_norm_2d, unfreeze_batch_norm_2d
from timm.models._features import FeatureGetterNet, FeatureListNet
from timm.models.efficientnet import EfficientNetFeatures
from timm.models.mobilenetv3 import MobileNetV3Features
from torch import Tensor, nn

from ..checkpoint import Checkpoint, checkpoint_names, init_randomly, load_weights, set_tensor
from ..errors import CheckpointError, UsageError
from ..models.base import Backbone, BackboneOutput, Names, Source
from ..models.layers import channels_first
from .buffers import compute_buffers
from .config import TimmBackboneConfig
from .network import build_network, network_args
from .weights import open_timm_repo


class TimmBackbone(Backbone):
    """Built directly, it has timm's weights if the config says `use_pretrained_backbone`, else random ones."""

    config: TimmBackboneConfig
    has_attentions = False
    net: Any

    def __init__(self, config: TimmBackboneConfig) -> None:
        super().__init__(config)
        on_meta = torch.empty(0).is_meta
        with torch.device("meta"):
            self.net = build_network(self.config, self.last)
            if config.freeze_batch_norm_2d:
                self.net = freeze_batch_norm_2d(self.net)
        compute_buffers(self.net)
        self.has_class_token = has_class_token(self.net)
        self.unused: dict[str, Tensor] = {}
        """Tensors of stages that were requested before, in case they are requested again."""
        if not on_meta:
            self.weight_source = timm_weights(self.config) if self.config.use_pretrained_backbone else init_randomly
            self.weight_source(self)

    def states(self, pixels: Tensor) -> Iterator[Any]:
        """Each stage's map, with its prefix tokens if there are any; None for stages that are not available."""
        if isinstance(self.net, FeatureGetterNet):
            yield from self.requested_states(pixels)
        elif isinstance(self.net, FeatureListNet):
            yield from run_parts(self.net.items(), set(self.net.return_layers), pixels, self.net.concat)
        elif isinstance(self.net, EfficientNetFeatures | MobileNetV3Features):
            taps = {info["stage"] for info in self.net.feature_info.get_dicts()}
            yield from run_parts(efficientnet_parts(self.net), taps, pixels)
        else:
            yield from self.net(pixels)

    def requested_states(self, pixels: Tensor) -> Iterator[Any]:
        """The stages of a network that returns all requested ones at once."""
        tokens = {"return_prefix_tokens": True} if self.has_class_token else {}
        maps = self.net.model.forward_intermediates(
            pixels, indices=self.requested, output_fmt="NCHW", intermediates_only=True, **tokens
        )
        by_index = dict(zip(self.requested, maps, strict=True))
        yield from (by_index.get(index) for index in range(self.last + 1))

    def feature_map(self, index: int, state: Any, size: tuple[int, int]) -> Tensor:
        x = state[0] if self.has_class_token else state
        return channels_first(x) if getattr(self.net, "output_fmt", "NCHW") == "NHWC" else x

    def class_token(self, index: int, state: Any) -> Tensor | None:
        return state[1][:, 0] if self.has_class_token else None

    def forward(
        self,
        pixel_values: Tensor,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
    ) -> BackboneOutput | tuple[Any, ...]:
        """Pixels (B, C, H, W), as an image processor makes them, to the maps of the requested stages."""
        states = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        if states and isinstance(self.net, FeatureGetterNet) and self.requested != list(range(self.last + 1)):
            raise UsageError(f"'{self.config.backbone}' only returns the requested stages; request all of them.")
        return super().forward(pixel_values, output_hidden_states, output_attentions, return_dict)

    def check(self, pixel_values: Tensor) -> None:
        super().check(pixel_values)
        self.config.check_size(*pixel_values.shape[-2:])

    def set_stages(self, out_features: list[str] | None = None, out_indices: Sequence[int] | None = None) -> None:
        """Choose other stages: the network is rebuilt and keeps the tensors that both have."""
        config = copy(self.config)
        config.set_output_features_output_indices(out_features, None if out_indices is None else list(out_indices))
        with torch.device("meta"):
            other = TimmBackbone(config).to(self.dtype)
        current = self.unused | self.state_dict(keep_vars=True)
        for name in (used := other.state_dict().keys() & current.keys()):
            set_tensor(other, name, current[name])
        self.unused = {name: tensor for name, tensor in current.items() if name not in used}
        (self.weight_source or init_randomly)(other)
        other = other.to(self.device).train(self.training)
        self.config, self.requested, self.net = other.config, other.requested, other.net

    def freeze_batch_norm_2d(self) -> None:
        """Keep BatchNorm's statistics and weights fixed, even in training."""
        self.net = freeze_batch_norm_2d(self.net)

    def unfreeze_batch_norm_2d(self) -> None:
        """Make BatchNorm trainable again."""
        self.net = unfreeze_batch_norm_2d(self.net).train(self.training)

    # --- weights --------------------------------------------------------------------------------------------

    def names(self) -> Names:
        """timm's names, or those inside timm's wrapper, as transformers' backbones are saved."""
        if isinstance(self.net, FeatureListNet):
            return {f"net.{name}": possible_names(name) for name in own_names(self.net)}
        wrapped = next((name for name in ("model", "body") if hasattr(self.net, name)), None)
        if wrapped is None:
            return {f"net.{name}": name for name in own_names(self.net)}
        inside = own_names(getattr(self.net, wrapped))
        return {f"net.{wrapped}.{name}": [name, f"{wrapped}.{name}"] for name in inside}

    def adapt(self, weights: Checkpoint) -> Checkpoint:
        """The checkpoint as it is if it fits; else as timm adapts it: old names, other channels or image sizes."""
        table, shapes = self.names(), {n: t.shape for n, t in self.state_dict().items() if t.is_meta}
        for name, shape in shapes.items():
            full_names = (weights.find(choice) for (choice,) in checkpoint_names(table, name))
            full_name = next((choice for choice in full_names if choice is not None), None)
            if not name.endswith("num_batches_tracked") and (full_name is None or weights.shape(full_name) != shape):
                return AdaptedCheckpoint(weights, self.config, self.last)
        return weights


class AdaptedCheckpoint(Checkpoint):
    """A checkpoint as timm itself loads it into a config's network; tensors that timm doesn't find are left out."""

    def __init__(self, weights: Checkpoint, config: TimmBackboneConfig, last: int) -> None:
        super().__init__(weights.repo)
        prefix = max((p for p in weights.prefixes if any(n.startswith(p) for n in weights.files)), key=len, default="")
        with torch.device("meta"):
            plain = set(timm.create_model(config.backbone, **network_args(config)).state_dict())
        short_names = {name: name.removeprefix(prefix) for name in weights.files if name.startswith(prefix)}
        state_dict = {unwrapped_name(short, plain): weights.read(name) for name, short in short_names.items()}
        # Only these tensors: keep timm from looking for others.
        overlay = {"state_dict": state_dict, **dict.fromkeys(("source", "file", "url", "hf_hub_id", "custom_load"))}
        try:
            with quiet_timm(), nan_where_unloaded():
                net = build_network(config, last, pretrained=True, pretrained_cfg_overlay=overlay)
        except (RuntimeError, KeyError) as error:
            lines = [line.strip() for line in str(error).splitlines()]
            raise CheckpointError(
                # The first of several lines of torch's message is only a heading.
                f"The weights of '{self.repo.name}' don't fit the model '{config.backbone}': {lines[len(lines) > 1]}"
            ) from error
        self.tensors = {name: tensor for name, tensor in net.state_dict().items() if not tensor.isnan().all()}
        self.files = dict.fromkeys(self.tensors, "the weights")

    def read(self, name: str) -> Tensor:
        return self.tensors[name]


def unwrapped_name(name: str, plain: Collection[str]) -> str:
    """A tensor's name in timm's bare network, if it was saved from inside a wrapper."""
    inner = re.sub(r"^(model|body)\.", "", name)
    first, dot, rest = inner.partition(".")
    spelled = (f"{part}{dot}{rest}" for part in (first, *possible_names(first)))
    return next((choice for choice in (name, *spelled) if choice in plain), name)


@contextlib.contextmanager
def nan_where_unloaded() -> Iterator[None]:
    """While timm loads weights, mark tensors that it doesn't find with NaN: it would silently keep random values."""
    load = timm.models._builder.load_pretrained

    def load_over_nan(model: nn.Module, **args: Any) -> None:
        with torch.no_grad():
            for name, tensor in model.state_dict(keep_vars=True).items():
                if isinstance(tensor, nn.Parameter) or name.endswith(("running_mean", "running_var")):
                    tensor.fill_(torch.nan)
        load(model, **args | {"strict": False})

    timm.models._builder.load_pretrained = load_over_nan  # type: ignore[assignment]
    try:
        yield
    finally:
        timm.models._builder.load_pretrained = load


@contextlib.contextmanager
def quiet_timm() -> Iterator[None]:
    """Silence timm's messages about dropped heads and resized position tables."""
    logger = logging.getLogger("timm")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def timm_weights(config: TimmBackboneConfig) -> Callable[[Backbone], None]:
    """A function that loads timm's weights for this config into a network."""
    return partial(load_weights, weights=Checkpoint(open_timm_repo(config.backbone)))


def has_class_token(net: Any) -> bool:
    """Whether a network returns class tokens along with its maps."""
    if not isinstance(net, FeatureGetterNet):
        return False
    model: Any = net.model
    returns_tokens = "return_prefix_tokens" in inspect.signature(model.forward_intermediates).parameters
    return returns_tokens and getattr(model, "cls_token", None) is not None


def run_parts(parts: Any, taps: set[Any], x: Any, concat: bool = False) -> Iterator[Tensor]:
    """Run the named parts of a network in turn and yield the outputs of those that are stages."""
    for name, part in parts:
        x = part(x)
        if name in taps:
            yield x if isinstance(x, Tensor) else torch.cat(x, 1) if concat else x[0]


def efficientnet_parts(net: Any) -> Iterator[tuple[int, Callable[[Any], Any]]]:
    """The stem and the blocks, under the stage numbers of these networks."""
    stem = [net.conv_stem, net.bn1, *([net.act1] if hasattr(net, "act1") else [])]
    yield 0, nn.Sequential(*stem)
    yield from enumerate(net.blocks, 1)


def own_names(module: nn.Module) -> list[str]:
    """A module's direct children, parameters and buffers."""
    return [*module._modules, *module._parameters, *module._buffers]


def possible_names(name: str) -> list[Source]:
    """The possible original names of a part: timm's wrapper renames `stages.0` to `stages_0`."""
    cuts = [i for i, letter in enumerate(name) if letter == "_"]
    return [name, *(f"{name[:i]}.{name[i + 1 :]}" for i in cuts)]
