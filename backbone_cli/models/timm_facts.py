"""The facts of a timm model, from timm itself: what `configs/timm_zoo.json` holds of each.

How maps follow from the image's size is found by running images without values through the network.
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

from ..checkpoint import draw
from ..configs.timm_zoo import USUAL, Facts, Tag, TimmStage
from ..errors import UnsupportedModel
from .timm_backbone import compute_buffers

# What makes networks take images of other sizes than the one they are built for, the best first.
FLEXIBLE: tuple[dict[str, bool], ...] = (
    {},
    {"dynamic_img_size": True, "dynamic_img_pad": True},
    {"dynamic_img_size": True},
    {"strict_img_size": False},
)
MULTIPLES = (2, 4, 7, 8, 14, 16, 28, 32, 56, 64, 112, 128, 224, 256)

# What timm's networks raise for keywords and images that they don't take.
REFUSALS = (TypeError, ValueError, AssertionError, RuntimeError, IndexError, NotImplementedError, ZeroDivisionError)

Size = tuple[int, int]
Shapes = list[tuple[int, int]]
Rules = list[tuple[int, int]]
Net = Any
"""A network of timm's, whatever is wrapped around it."""
Network = Callable[..., Net]


def is_known(architecture: str) -> bool:
    return is_model(architecture)


def facts(architecture: str, similar: Sequence[Facts] = (), **shape: Any) -> Facts:
    """The facts of one architecture of the timm that is installed, as it usually is or with another `shape`.

    Where it behaves as one of the `similar` ones, a few images confirm that; else it takes a search.
    """
    tags = {cfg.tag or "": tag(cfg) for cfg in configs(architecture)}
    _, *size = next(iter(tags.values())).data["input_size"]
    own = (int(size[0]), int(size[1]))
    build = partial(network, architecture, **shape)
    for other in similar:
        if stages := stages_like(other, build, own):
            return Facts(architecture, stages, other.build, other.multiple, other.rebuilt, tags)
    net = build() or build(out_indices=(0,))  # what timm takes by default can be more stages than there are
    if net is None:
        raise UnsupportedModel(f"timm can't build '{architecture}' with {shape}.")
    info = net.feature_info.info
    if not all(at["module"] for at in info):
        raise UnsupportedModel(f"timm lists a stage of {architecture} that no part of the network stands for.")
    if not shapes_at(net, own):
        build = partial(build, with_values=True)
    whole = partial(build, out_indices=tuple(range(len(info))))
    how, multiple, rebuilt, rules = behaviour(whole, own, [at["reduction"] for at in info])
    return Facts(architecture, stages_of(info, rules), how, multiple, rebuilt, tags)


def stages_of(info: Sequence[Mapping[str, Any]], rules: Rules) -> tuple[TimmStage, ...]:
    """The stages that timm's feature_info lists, with the rules of their maps' sizes."""
    names = unique([str(at["module"]) for at in info])
    rows = zip(names, info, rules, strict=True)
    return tuple(TimmStage(name, at["num_chs"], at["reduction"], *rule) for name, at, rule in rows)


def configs(architecture: str) -> list[Any]:
    """Each set of weights as timm describes it, the usual one first."""
    return list(get_arch_pretrained_cfgs(architecture).values()) or [get_pretrained_cfg(architecture)]


def tag(cfg: Any) -> Tag:
    data = resolve_data_config({}, pretrained_cfg=cfg.to_dict())
    plain = {key: list(data[key]) if isinstance(data[key], tuple) else data[key] for key in USUAL}
    return Tag(plain, cfg.hf_hub_id or cfg.url or None)


def unique(names: Sequence[str]) -> list[str]:
    """Networks with branches give several stages one name; those after the first get a number."""
    again = [names[:i].count(name) for i, name in enumerate(names)]
    return [f"{name}:{k}" if k else name for name, k in zip(names, again, strict=True)]


# --- sizes ------------------------------------------------------------------------------------------------------


def behaviour(network: Network, own: Size, strides: Sequence[int]) -> tuple[Mapping[str, Any], int, int, Rules]:
    """What to build with, the multiples it then takes, those it can be built for, and the rules of its maps' sizes."""
    nets = []
    for build in FLEXIBLE:
        if net := network(**build):
            nets.append((build, net))
            seen = shapes_at(net, own, *uneven(own))
            if len(seen) == 3 and (rules := rules_of(strides, narrowed(net, own, seen))):
                return build, 1, 0, rules
    for multiple, (build, net) in product(MULTIPLES, nets):
        seen = shapes_at(net, *larger(own, multiple), own)
        if len(seen) == 3 and (rules := rules_of(strides, seen)):
            return build, multiple, 0, rules
    at_own = shapes_at(nets[0][1], own)
    for multiple in (1, *MULTIPLES):
        seen = at_own
        for size in (*larger(own, multiple), (own[0] + multiple, own[1] + 31 * multiple)):
            if more := shapes_at(network(img_size=size), size):
                seen = seen | more
            else:
                break
        else:
            if rules := rules_of(strides, seen):
                return {}, 0, multiple, rules
    return {}, 0, 0, rules_of(strides, at_own)


def rules_like(other: Facts, strides: Sequence[int]) -> Rules:
    """The steps and shifts of another network's stages for stages of these strides; empty where they don't tell."""
    if [stage.stride for stage in other.stages] == strides:
        return [(stage.step, stage.shift) for stage in other.stages]
    known = {(stage.stride, stage.step, stage.shift) for stage in other.stages}
    by_stride = {stride: (step, shift) for stride, step, shift in known}
    agree = len(by_stride) == len(known) and by_stride.keys() >= set(strides)
    return [by_stride[stride] for stride in strides] if agree else []


def stages_like(other: Facts, network: Network, own: Size) -> tuple[TimmStage, ...]:
    """The stages of a network if it takes images as another one does; empty if it doesn't."""
    sizes = [own]
    if other.multiple == 1:
        sizes = [own, *uneven(own), (own[0] + 17, own[1] + 31)]
    elif other.multiple or other.rebuilt:
        sizes = [larger(own, other.multiple or other.rebuilt)[1]]
    net = network(img_size=sizes[0]) if other.rebuilt else network(**other.build)
    if net is None:
        return ()
    info = net.feature_info.info
    rules = rules_like(other, [at["reduction"] for at in info])
    stages = stages_of(info, rules) if rules else ()
    foretold = {size: [stages[i].grid(*size) for i in net.feature_info.out_indices] for size in sizes if stages}
    return stages if shapes_at(net, *sizes) == foretold else ()


def uneven(own: Size) -> tuple[Size, Size]:
    """Two sizes that no network takes that wants multiples of anything."""
    return (own[0] + 1, own[1] + 31), (own[0] + 80, own[1] + 47)


def larger(own: Size, multiple: int) -> tuple[Size, Size]:
    """Two sizes so far above a network's own that every map has more cells; the first of them is a square."""
    side, more = (-(-least // multiple) * multiple for least in (own[0] + 65, 65))
    return (side, side), (side + more, side)


def network(architecture: str, with_values: bool = False, **how: Any) -> Net:
    """A network with shapes but no values, or with any values, for those that look at them; None where it can't be."""
    try:
        with torch.device("meta"):
            net = timm.create_model(architecture, features_only=True, **how).eval()
    except REFUSALS:
        return None
    if with_values:
        compute_buffers(net)
        draw(net)
    return net


def shapes_at(net: Net, *sizes: Size) -> dict[Size, Shapes]:
    """(H, W) of all maps, at those sizes that the network takes; nothing after the first that it doesn't."""
    seen: dict[Size, Shapes] = {}
    for size in sizes if net is not None else ():
        try:
            with torch.no_grad(), CheckedAttention():
                maps = net(torch.zeros(1, 3, *size, device=next(net.parameters()).device))
        except REFUSALS:
            break
        rows = 1 if getattr(net, "output_fmt", "NCHW") == "NHWC" else 2
        seen[size] = [(x.shape[rows], x.shape[rows + 1]) for x in maps]
    return seen


class CheckedAttention(TorchFunctionMode):
    """Fused attention on tensors without values lets biases of a wrong shape pass; here it doesn't."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.scaled_dot_product_attention:
            q, k, *_ = args
            bias = args[3] if len(args) > 3 else (kwargs or {}).get("attn_mask")
            if bias is not None:
                bias.expand(*q.shape[:-1], k.shape[-2])
        return func(*args, **(kwargs or {}))


def narrowed(net: Net, own: Size, seen: dict[Size, Shapes]) -> dict[Size, Shapes]:
    """With the maps at more sizes, until they tell the rule of each stage."""
    for i, stage in enumerate(net.feature_info.info):
        while (found := shifts(stage["reduction"], lengths(seen, i))) and len(found) > 1:
            middle = found[len(found) // 2]
            side = own[0] + (-middle - own[0]) % stage["reduction"]
            if (side, side) in seen or not (more := shapes_at(net, (side, side))):
                break
            seen = seen | more
    return seen


def lengths(seen: Mapping[Size, Shapes], stage: int) -> list[tuple[int, int]]:
    """Sides of images, and of the stage's maps for them."""
    return [pair for size, shapes in seen.items() for pair in zip(size, shapes[stage], strict=True)]


def rules_of(strides: Sequence[int], seen: Mapping[Size, Shapes]) -> Rules:
    """The steps and shifts of all stages; empty where a stage has none that tells its map's size."""
    found = [rule(stride, lengths(seen, i)) for i, stride in enumerate(strides)]
    return [each for each in found if each] if all(found) else []


def rule(stride: int, sides: Sequence[tuple[int, int]]) -> tuple[int, int] | None:
    """The step and shift of a stage; see TimmStage."""
    outcomes = {side for _, side in sides}
    if len(outcomes) == 1 and max(sides)[0] - min(sides)[0] >= stride:
        return 0, outcomes.pop()
    for step in (stride, *range(1, 2 * stride)):
        if found := shifts(step, sides):
            return step, next((usual for usual in (0, step - 1, step // 2) if usual in found), found[0])
    return None


def shifts(step: int, sides: Sequence[tuple[int, int]]) -> range:
    """The shifts with which floor((n + shift) / step) is right for each of these."""
    least = max(side * step - n for n, side in sides)
    most = min((side + 1) * step - 1 - n for n, side in sides)
    return range(least, most + 1)
