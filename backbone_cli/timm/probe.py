"""Measure what `catalog.json` holds about a timm model with the installed timm.

How map sizes follow from the image size is found by running images on the meta device through the network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import product
from typing import Any

import timm
import torch
import torch.nn.functional as F
from timm.data.config import resolve_data_config
from timm.models import get_arch_pretrained_cfgs, get_pretrained_cfg, is_model
from torch.overrides import TorchFunctionMode

from ..checkpoint import init_randomly
from ..errors import UnsupportedModel
from .buffers import compute_buffers
from .facts import DEFAULT_DATA_CONFIG, Architecture, PretrainedTag, TimmStage

# Arguments that make networks take other image sizes than the one they are built for, preferred first.
FLEXIBLE_ARGS: tuple[dict[str, bool], ...] = (
    {},
    {"dynamic_img_size": True, "dynamic_img_pad": True},
    {"dynamic_img_size": True},
    {"strict_img_size": False},
)
MULTIPLES = (2, 4, 7, 8, 14, 16, 28, 32, 56, 64, 112, 128, 224, 256)

# What timm's networks raise for arguments and images that they don't support.
REFUSALS = (TypeError, ValueError, AssertionError, RuntimeError, IndexError, NotImplementedError, ZeroDivisionError)

Size = tuple[int, int]
Shapes = list[tuple[int, int]]
Rules = list[tuple[int, int]]
Net = Any
"""A timm network, whatever wrapper it is in."""
Network = Callable[..., Net]


def is_known(architecture: str) -> bool:
    return is_model(architecture)


def probe(architecture: str, similar: Sequence[Architecture] = (), **model_args: Any) -> Architecture:
    """Measure one architecture of the installed timm, built by default or with `model_args`.

    If it behaves like one of the `similar` ones, a few images confirm that; otherwise it takes a search.
    """
    tags = {cfg.tag or "": make_tag(cfg) for cfg in pretrained_cfgs(architecture)}
    _, *size = next(iter(tags.values())).data["input_size"]
    own = (int(size[0]), int(size[1]))
    build = partial(create_network, architecture, **model_args)
    for other in similar:
        if stages := stages_if_similar(other, build, own):
            return Architecture(architecture, stages, other.build_args, other.multiple, other.rebuild_multiple, tags)
    net = build() or build(out_indices=(0,))  # by default timm may ask for more stages than there are
    if net is None:
        raise UnsupportedModel(f"timm can't build '{architecture}' with {model_args}.")
    info = net.feature_info.info
    if not all(at["module"] for at in info):
        raise UnsupportedModel(f"timm lists a stage of {architecture} that is no part of the network.")
    if not shapes_at(net, own):
        build = partial(build, with_values=True)
    whole = partial(build, out_indices=tuple(range(len(info))))
    build_args, multiple, rebuild_multiple, rules = find_sizes(whole, own, [at["reduction"] for at in info])
    return Architecture(architecture, stages_of(info, rules), build_args, multiple, rebuild_multiple, tags)


def stages_of(info: Sequence[Mapping[str, Any]], rules: Rules) -> tuple[TimmStage, ...]:
    """The stages in timm's feature_info, with the rules for their map sizes."""
    names = make_unique([str(at["module"]) for at in info])
    rows = zip(names, info, rules, strict=True)
    return tuple(TimmStage(name, at["num_chs"], at["reduction"], *rule) for name, at, rule in rows)


def pretrained_cfgs(architecture: str) -> list[Any]:
    """timm's description of each set of weights, the default one first."""
    return list(get_arch_pretrained_cfgs(architecture).values()) or [get_pretrained_cfg(architecture)]


def make_tag(cfg: Any) -> PretrainedTag:
    data = resolve_data_config({}, pretrained_cfg=cfg.to_dict())
    plain = {key: list(data[key]) if isinstance(data[key], tuple) else data[key] for key in DEFAULT_DATA_CONFIG}
    return PretrainedTag(plain, cfg.hf_hub_id or cfg.url or None)


def make_unique(names: Sequence[str]) -> list[str]:
    """Networks with branches have several stages of one name; all but the first get a number."""
    repeats = [names[:i].count(name) for i, name in enumerate(names)]
    return [f"{name}:{k}" if k else name for name, k in zip(names, repeats, strict=True)]


# --- sizes ------------------------------------------------------------------------------------------------------


def find_sizes(network: Network, own: Size, strides: Sequence[int]) -> tuple[Mapping[str, Any], int, int, Rules]:
    """(build_args, multiple, rebuild_multiple) of `Architecture`, and the rules for its map sizes."""
    nets = []
    for build_args in FLEXIBLE_ARGS:
        if net := network(**build_args):
            nets.append((build_args, net))
            shapes = shapes_at(net, own, *uneven(own))
            if len(shapes) == 3 and (rules := rules_of(strides, narrow_down(net, own, shapes))):
                return build_args, 1, 0, rules
    for multiple, (build_args, net) in product(MULTIPLES, nets):
        shapes = shapes_at(net, *larger(own, multiple), own)
        if len(shapes) == 3 and (rules := rules_of(strides, shapes)):
            return build_args, multiple, 0, rules
    at_own = shapes_at(nets[0][1], own)
    for multiple in (1, *MULTIPLES):
        shapes = at_own
        for size in (*larger(own, multiple), (own[0] + multiple, own[1] + 31 * multiple)):
            if more := shapes_at(network(img_size=size), size):
                shapes = shapes | more
            else:
                break
        else:
            if rules := rules_of(strides, shapes):
                return {}, 0, multiple, rules
    return {}, 0, 0, rules_of(strides, at_own)


def rules_from(other: Architecture, strides: Sequence[int]) -> Rules:
    """Another network's steps and shifts for stages of these strides; empty if they can't be derived."""
    if [stage.stride for stage in other.stages] == strides:
        return [(stage.step, stage.shift) for stage in other.stages]
    known = {(stage.stride, stage.step, stage.shift) for stage in other.stages}
    by_stride = {stride: (step, shift) for stride, step, shift in known}
    agree = len(by_stride) == len(known) and by_stride.keys() >= set(strides)
    return [by_stride[stride] for stride in strides] if agree else []


def stages_if_similar(other: Architecture, network: Network, own: Size) -> tuple[TimmStage, ...]:
    """The stages of a network if its map sizes follow the same rules as another's; else empty."""
    sizes = [own]
    if other.multiple == 1:
        sizes = [own, *uneven(own), (own[0] + 17, own[1] + 31)]
    elif other.multiple or other.rebuild_multiple:
        sizes = [larger(own, other.multiple or other.rebuild_multiple)[1]]
    net = network(img_size=sizes[0]) if other.rebuild_multiple else network(**other.build_args)
    if net is None:
        return ()
    info = net.feature_info.info
    rules = rules_from(other, [at["reduction"] for at in info])
    stages = stages_of(info, rules) if rules else ()
    expected = {size: [stages[i].grid(*size) for i in net.feature_info.out_indices] for size in sizes if stages}
    return stages if shapes_at(net, *sizes) == expected else ()


def uneven(own: Size) -> tuple[Size, Size]:
    """Two sizes that are not multiples of anything."""
    return (own[0] + 1, own[1] + 31), (own[0] + 80, own[1] + 47)


def larger(own: Size, multiple: int) -> tuple[Size, Size]:
    """Two sizes large enough that every map grows; the first one is square."""
    side, more = (-(-least // multiple) * multiple for least in (own[0] + 65, 65))
    return (side, side), (side + more, side)


def create_network(architecture: str, with_values: bool = False, **create_args: Any) -> Net:
    """A network on the meta device, or with random values if it needs some; None if timm can't build it."""
    try:
        with torch.device("meta"):
            net = timm.create_model(architecture, features_only=True, **create_args).eval()
    except REFUSALS:
        return None
    if with_values:
        compute_buffers(net)
        init_randomly(net)
    return net


def shapes_at(net: Net, *sizes: Size) -> dict[Size, Shapes]:
    """(H, W) of all maps at these sizes, up to the first that the network rejects."""
    shapes: dict[Size, Shapes] = {}
    for size in sizes if net is not None else ():
        try:
            with torch.no_grad(), CheckedAttention():
                maps = net(torch.zeros(1, 3, *size, device=next(net.parameters()).device))
        except REFUSALS:
            break
        rows = 1 if getattr(net, "output_fmt", "NCHW") == "NHWC" else 2
        shapes[size] = [(x.shape[rows], x.shape[rows + 1]) for x in maps]
    return shapes


class CheckedAttention(TorchFunctionMode):
    """Check bias shapes, which fused attention doesn't do on the meta device."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.scaled_dot_product_attention:
            q, k, *_ = args
            bias = args[3] if len(args) > 3 else (kwargs or {}).get("attn_mask")
            if bias is not None:
                bias.expand(*q.shape[:-1], k.shape[-2])
        return func(*args, **(kwargs or {}))


def narrow_down(net: Net, own: Size, shapes: dict[Size, Shapes]) -> dict[Size, Shapes]:
    """Add maps at more sizes until each stage's rule is unambiguous."""
    for i, stage in enumerate(net.feature_info.info):
        while (candidates := shifts(stage["reduction"], lengths(shapes, i))) and len(candidates) > 1:
            middle = candidates[len(candidates) // 2]
            side = own[0] + (-middle - own[0]) % stage["reduction"]
            if (side, side) in shapes or not (more := shapes_at(net, (side, side))):
                break
            shapes = shapes | more
    return shapes


def lengths(shapes: Mapping[Size, Shapes], stage: int) -> list[tuple[int, int]]:
    """Pairs of an image side and the side of the stage's map."""
    return [pair for size, maps in shapes.items() for pair in zip(size, maps[stage], strict=True)]


def rules_of(strides: Sequence[int], shapes: Mapping[Size, Shapes]) -> Rules:
    """The steps and shifts of all stages; empty if a stage's map sizes follow no such rule."""
    rules = [rule(stride, lengths(shapes, i)) for i, stride in enumerate(strides)]
    return [each for each in rules if each] if all(rules) else []


def rule(stride: int, sides: Sequence[tuple[int, int]]) -> tuple[int, int] | None:
    """The step and shift of a stage; see TimmStage."""
    outcomes = {side for _, side in sides}
    if len(outcomes) == 1 and max(sides)[0] - min(sides)[0] >= stride:
        return 0, outcomes.pop()
    for step in (stride, *range(1, 2 * stride)):
        if candidates := shifts(step, sides):
            return step, next((usual for usual in (0, step - 1, step // 2) if usual in candidates), candidates[0])
    return None


def shifts(step: int, sides: Sequence[tuple[int, int]]) -> range:
    """The shifts for which floor((n + shift) / step) is right for all of these."""
    least = max(side * step - n for n, side in sides)
    most = min((side + 1) * step - 1 - n for n, side in sides)
    return range(least, most + 1)
