"""Build timm's networks: with the right arguments, up to a stage."""

from __future__ import annotations

from dataclasses import fields
from functools import partial
from typing import Any

import timm
from timm.models import PretrainedCfg
from timm.models.efficientnet import EfficientNetFeatures
from timm.models.mobilenetv3 import MobileNetV3Features

from ..errors import UnsupportedModel, first_line
from .config import TimmBackboneConfig

# Arguments that timm itself sets only when it loads weights, which happens later here.
PRETRAINED_ARGS: dict[str, dict[str, Any]] = {"fbnetc_100": {"bn_eps": 1e-3}}


def build_network(config: TimmBackboneConfig, last: int, **create_args: Any) -> Any:
    """timm's network up to stage `last`, in evaluation mode."""
    model_args = network_args(config)
    create = partial(
        timm.create_model,
        config.backbone,
        features_only=True,
        out_indices=tuple(range(last + 1)),
        **model_args,
        **create_args,
    )
    try:
        net = create()
        if hasattr(getattr(net, "body", None), "forward_intermediates"):
            net = create(feature_cls="getter")  # hooks would run the network to its very end
    except (TypeError, AssertionError, NotImplementedError) as error:
        given = ", ".join(f"{key}={value}" for key, value in model_args.items() if key != "pretrained_cfg")
        raise UnsupportedModel(f"timm can't build '{config.backbone}' with {given}: {first_line(error)}") from error
    if isinstance(net, EfficientNetFeatures | MobileNetV3Features):
        net.blocks = net.blocks[: max(info["stage"] for info in net.feature_info.get_dicts())]
    return net.eval()


def network_args(config: TimmBackboneConfig) -> dict[str, Any]:
    """The arguments of `timm.create_model` besides the stages."""
    architecture = config.architecture
    args: dict[str, Any] = {"in_chans": config.num_channels, "output_stride": config.output_stride}
    if architecture.build_args or architecture.rebuild_multiple:  # other networks take any image size as they are
        args["img_size"] = config.img_size
    args = {key: value for key, value in args.items() if value is not None}
    if config.pretrained_cfg:
        args["pretrained_cfg"] = known_keys(config.pretrained_cfg)
    pretrained_args = PRETRAINED_ARGS.get(architecture.name, {})
    return {**architecture.build_args, **pretrained_args, **(config.model_args or {}), **args}


def known_keys(pretrained_cfg: dict[str, Any]) -> dict[str, Any]:
    """Drop the keys that this version of timm doesn't know."""
    known = {field.name for field in fields(PretrainedCfg)}
    return {key: value for key, value in pretrained_cfg.items() if key in known}
