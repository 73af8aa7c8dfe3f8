"""Any model of timm (Wightman 2019, github.com/huggingface/pytorch-image-models) as a backbone.

timm builds the network, with its own `features_only=True` and as far as the last stage asked for. What it wraps the
network in decides how the stages are told: a list of modules is walked one by one, so that nothing is kept that was not
asked for; other networks hand over all maps at once. Whatever layout a network computes in, maps are B C H W.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
import re
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from copy import copy
from dataclasses import fields
from functools import partial
from typing import Any

import timm
import torch
from timm.layers.norm_act import freeze_batch_norm_2d, unfreeze_batch_norm_2d
from timm.models import PretrainedCfg
from timm.models._features import FeatureGetterNet, FeatureListNet
from timm.models.efficientnet import EfficientNetFeatures
from timm.models.mobilenetv3 import MobileNetV3Features
from torch import Tensor, nn

from ..checkpoint import Weights, draw, fill, put, sources
from ..configs.timm_backbone import TimmBackboneConfig
from ..errors import CheckpointError, UnsupportedModel, UsageError, first_line
from ..timm_weights import weights_of_timm
from .base import Backbone, BackboneOutput, Names, Source
from .layers import channels_first

# What timm builds differently where it is to load weights, which here happens later.
TRAINED_WITH: dict[str, dict[str, Any]] = {"fbnetc_100": {"bn_eps": 1e-3}}


class TimmBackbone(Backbone):
    """Built by its class it holds timm's weights where the config says `use_pretrained_backbone`, else drawn ones."""

    config: TimmBackboneConfig
    has_attentions = False
    net: Any

    def __init__(self, config: TimmBackboneConfig) -> None:
        super().__init__(config)
        only_shapes = torch.empty(0).is_meta
        with torch.device("meta"):
            self.net = build(self.config, self.last)
            if config.freeze_batch_norm_2d:
                self.net = freeze_batch_norm_2d(self.net)
        compute_buffers(self.net)
        self.has_class_token = has_class_token(self.net)
        self.spare: dict[str, Tensor] = {}
        """What the network held when it was asked for later stages, for when it is asked for them again."""
        if not only_shapes:
            self.origin = published(self.config) if self.config.use_pretrained_backbone else draw
            self.origin(self)

    def states(self, pixels: Tensor) -> Iterator[Any]:
        """The map of each stage, with the tokens before it where there are any; None where it can't be had."""
        if isinstance(self.net, FeatureGetterNet):
            yield from self.at_once(pixels)
        elif isinstance(self.net, FeatureListNet):
            yield from walk(self.net.items(), set(self.net.return_layers), pixels, self.net.concat)
        elif isinstance(self.net, EfficientNetFeatures | MobileNetV3Features):
            taps = {info["stage"] for info in self.net.feature_info.get_dicts()}
            yield from walk(efficientnet_parts(self.net), taps, pixels)
        else:
            yield from self.net(pixels)

    def at_once(self, pixels: Tensor) -> Iterator[Any]:
        """The stages of a network that hands over those asked for when it is done."""
        tokens = {"return_prefix_tokens": True} if self.has_class_token else {}
        found = self.net.model.forward_intermediates(
            pixels, indices=self.wanted, output_fmt="NCHW", intermediates_only=True, **tokens
        )
        by_index = dict(zip(self.wanted, found, strict=True))
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
        """Pixels (B, C, H, W), as an image processor makes them, to the maps of the stages asked for."""
        states = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        if states and isinstance(self.net, FeatureGetterNet) and self.wanted != list(range(self.last + 1)):
            raise UsageError(f"'{self.config.backbone}' hands over only the stages asked for; ask for all of them.")
        return super().forward(pixel_values, output_hidden_states, output_attentions, return_dict)

    def check(self, pixel_values: Tensor) -> None:
        super().check(pixel_values)
        self.config.check_size(*pixel_values.shape[-2:])

    def choose(self, out_features: list[str] | None = None, out_indices: Sequence[int] | None = None) -> None:
        """Ask for other stages: the network is built anew, and keeps the tensors that both have."""
        config = copy(self.config)
        config.set_output_features_output_indices(out_features, None if out_indices is None else list(out_indices))
        with torch.device("meta"):
            other = TimmBackbone(config).to(self.dtype)
        mine = self.spare | self.state_dict(keep_vars=True)
        for name in (used := other.state_dict().keys() & mine.keys()):
            put(other, name, mine[name])
        self.spare = {name: tensor for name, tensor in mine.items() if name not in used}
        (self.origin or draw)(other)
        other = other.to(self.device).train(self.training)
        self.config, self.wanted, self.net = other.config, other.wanted, other.net

    def freeze_batch_norm_2d(self) -> None:
        """Keep BatchNorm's statistics and weights as they are, also in training."""
        self.net = freeze_batch_norm_2d(self.net)

    def unfreeze_batch_norm_2d(self) -> None:
        """Let BatchNorm learn again."""
        self.net = unfreeze_batch_norm_2d(self.net).train(self.training)

    # --- weights --------------------------------------------------------------------------------------------

    def names(self) -> Names:
        """Their own names: timm's, or, as transformers' backbones are saved, those inside what timm wraps around."""
        if isinstance(self.net, FeatureListNet):
            return {f"net.{name}": unflattened(name) for name in own_names(self.net)}
        within = next((name for name in ("model", "body") if hasattr(self.net, name)), None)
        if within is None:
            return {f"net.{name}": name for name in own_names(self.net)}
        inside = own_names(getattr(self.net, within))
        return {f"net.{within}.{name}": [name, f"{within}.{name}"] for name in inside}

    def adapt(self, weights: Weights) -> Weights:
        """The weights as they are where they fit; else as timm adapts them: old names, other channels or sizes."""
        table, shapes = self.names(), {n: t.shape for n, t in self.state_dict().items() if t.is_meta}
        for name, shape in shapes.items():
            choices = (weights.find(choice) for (choice,) in sources(table, name))
            found = next((choice for choice in choices if choice is not None), None)
            if not name.endswith("num_batches_tracked") and (found is None or weights.shape(found) != shape):
                return Adapted(weights, self.config, self.last)
        return weights


class Adapted(Weights):
    """A model's weights as timm itself loads them into the network of a config; what timm does not find is not here."""

    def __init__(self, weights: Weights, config: TimmBackboneConfig, last: int) -> None:
        super().__init__(weights.repo)
        prefix = max((p for p in weights.prefixes if any(n.startswith(p) for n in weights.files)), key=len, default="")
        with torch.device("meta"):
            plain = set(timm.create_model(config.backbone, **arguments(config)).state_dict())
        inside = {name: name.removeprefix(prefix) for name in weights.files if name.startswith(prefix)}
        held = {plain_name(short, plain): weights.read(name) for name, short in inside.items()}
        # These tensors and nothing else: nowhere is timm to look for others.
        overlay = {"state_dict": held, **dict.fromkeys(("source", "file", "url", "hf_hub_id", "custom_load"))}
        try:
            with undisturbed(), loading_over_nothing():
                net = build(config, last, pretrained=True, pretrained_cfg_overlay=overlay)
        except (RuntimeError, KeyError) as error:
            said = [line.strip() for line in str(error).splitlines()]
            raise CheckpointError(
                # torch's first line of several only leads up to the others.
                f"The weights of '{self.repo.name}' don't fit the model '{config.backbone}': {said[len(said) > 1]}"
            ) from error
        self.tensors = {name: tensor for name, tensor in net.state_dict().items() if not tensor.isnan().all()}
        self.files = dict.fromkeys(self.tensors, "the weights")

    def read(self, name: str) -> Tensor:
        return self.tensors[name]


def plain_name(name: str, plain: Collection[str]) -> str:
    """A tensor's name in timm's network itself, where it was saved from inside what timm wraps around that."""
    within = re.sub(r"^(model|body)\.", "", name)
    first, dot, rest = within.partition(".")
    spelled = (f"{part}{dot}{rest}" for part in (first, *unflattened(first)))
    return next((choice for choice in (name, *spelled) if choice in plain), name)


@contextlib.contextmanager
def loading_over_nothing() -> Iterator[None]:
    """While timm loads weights: leave NaN where it finds none. It would keep the numbers that it drew, and not tell."""
    load = timm.models._builder.load_pretrained

    def load_over_nothing(model: nn.Module, **told: Any) -> None:
        with torch.no_grad():
            for name, tensor in model.state_dict(keep_vars=True).items():
                if isinstance(tensor, nn.Parameter) or name.endswith(("running_mean", "running_var")):
                    tensor.fill_(torch.nan)
        load(model, **told | {"strict": False})

    timm.models._builder.load_pretrained = load_over_nothing  # type: ignore[assignment]
    try:
        yield
    finally:
        timm.models._builder.load_pretrained = load


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Without what timm has to say of heads that it leaves out and tables that it resizes."""
    logger = logging.getLogger("timm")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def published(config: TimmBackboneConfig) -> Callable[[Backbone], None]:
    """What gives a network of this config the weights that timm has for it."""
    return partial(fill, weights=Weights(weights_of_timm(config.backbone)))


def build(config: TimmBackboneConfig, last: int, **how: Any) -> Any:
    """timm's network as far as this stage, for inference."""
    told = arguments(config)
    create = partial(
        timm.create_model, config.backbone, features_only=True, out_indices=tuple(range(last + 1)), **told, **how
    )
    try:
        net = create()
        if hasattr(getattr(net, "body", None), "forward_intermediates"):  # else hooks would run it to its very end
            net = create(feature_cls="getter")
    except (TypeError, AssertionError, NotImplementedError) as error:
        given = ", ".join(f"{key}={value}" for key, value in told.items() if key != "pretrained_cfg")
        raise UnsupportedModel(f"timm can't build '{config.backbone}' with {given}: {first_line(error)}") from error
    if isinstance(net, EfficientNetFeatures | MobileNetV3Features):
        net.blocks = net.blocks[: max(info["stage"] for info in net.feature_info.get_dicts())]
    return net.eval()


def arguments(config: TimmBackboneConfig) -> dict[str, Any]:
    """What timm is told to build, besides the stages."""
    asked: dict[str, Any] = {"in_chans": config.num_channels, "output_stride": config.output_stride}
    if config.facts.build or config.facts.rebuilt:  # others take images of any size as they are
        asked["img_size"] = config.img_size
    asked = {key: value for key, value in asked.items() if value is not None}
    source: dict[str, Any] = {"pretrained_cfg": known_keys(config.pretrained_cfg)} if config.pretrained_cfg else {}
    trained = TRAINED_WITH.get(config.facts.name, {})
    return {**config.facts.build, **trained, **(config.model_args or {}), **asked, **source}


def known_keys(pretrained_cfg: dict[str, Any]) -> dict[str, Any]:
    """Without keys that this version of timm doesn't know."""
    known = {field.name for field in fields(PretrainedCfg)}
    return {key: value for key, value in pretrained_cfg.items() if key in known}


def compute_buffers(net: Any) -> None:
    """Give the buffers that no checkpoint holds (tables of positions, masks) their values; all else stays as it is."""
    saved = net.state_dict(keep_vars=True)
    if {id(buffer) for buffer in net.buffers()} <= {id(tensor) for tensor in saved.values()}:
        return
    net.to_empty(device="cpu")
    with torch.device("cpu"):
        for module in net.modules():
            if hasattr(module, "init_non_persistent_buffers"):
                module.init_non_persistent_buffers()
    for name, tensor in saved.items():
        put(net, name, tensor)


def has_class_token(net: Any) -> bool:
    """Whether a network hands over class tokens beside its maps."""
    if not isinstance(net, FeatureGetterNet):
        return False
    model: Any = net.model
    hands_over = "return_prefix_tokens" in inspect.signature(model.forward_intermediates).parameters
    return hands_over and getattr(model, "cls_token", None) is not None


def walk(parts: Any, taps: set[Any], x: Any, concat: bool = False) -> Iterator[Tensor]:
    """Run the named parts of a network in turn, and hand over what those with a stage's name put out."""
    for name, part in parts:
        x = part(x)
        if name in taps:
            yield x if isinstance(x, Tensor) else torch.cat(x, 1) if concat else x[0]


def efficientnet_parts(net: Any) -> Iterator[tuple[int, Callable[[Any], Any]]]:
    """The stem and the blocks, under the numbers that these networks give to their stages."""
    stem = [net.conv_stem, net.bn1, *([net.act1] if hasattr(net, "act1") else [])]
    yield 0, nn.Sequential(*stem)
    yield from enumerate(net.blocks, 1)


def own_names(module: nn.Module) -> list[str]:
    """What a module itself holds: parts, parameters, buffers."""
    return [*module._modules, *module._parameters, *module._buffers]


def unflattened(name: str) -> list[Source]:
    """The names that a part may have had before timm made `stages_0` of `stages.0`."""
    cuts = [i for i, letter in enumerate(name) if letter == "_"]
    return [name, *(f"{name[:i]}.{name[i + 1 :]}" for i in cuts)]
