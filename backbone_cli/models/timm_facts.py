"""The facts of a timm model, from timm itself: what `configs/timm_zoo.json` holds of each.

How maps follow from the image's size is found by running images without values through the network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import product
from typing import Any

import timm
import torch
from timm.data.config import resolve_data_config
from timm.models import get_arch_pretrained_cfgs, get_pretrained_cfg, is_model

from ..configs.timm_zoo import USUAL, Facts, Tag, TimmStage
from ..errors import UnsupportedModel

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
Net = Any
"""A network of timm's, whatever is wrapped around it."""
Network = Callable[..., Net]


def is_known(architecture: str) -> bool:
    return is_model(architecture)


def facts(architecture: str, similar: Sequence[Facts] = ()) -> Facts:
    """The facts of one architecture of the timm that is installed.

    Where it behaves as one of the `similar` ones, that is confirmed with two images; else it takes a search.
    """
    tags = {cfg.tag or "": tag(cfg) for cfg in configs(architecture)}
    _, *size = next(iter(tags.values())).data["input_size"]
    own = (int(size[0]), int(size[1]))
    with torch.device("meta"):
        whole: Net = timm.create_model(architecture, features_only=True)
        info = whole.feature_info.info
    names = unique([str(stage["module"]) for stage in info])
    build_as = partial(network, architecture, out_indices=tuple(range(len(info))))

    def told(build: Mapping[str, Any], multiple: int, rebuilt: int, rules: Iterable[tuple[int, int]]) -> Facts:
        rows = zip(names, info, rules, strict=True)
        stages = tuple(TimmStage(name, at["num_chs"], at["reduction"], *rule) for name, at, rule in rows)
        return Facts(architecture, stages, build, multiple, rebuilt, tags)

    for other in similar:
        rules = rules_like(other, [at["reduction"] for at in info])
        if rules and confirms(guess := told(other.build, other.multiple, other.rebuilt, rules), build_as, own):
            return guess
    build, multiple, rebuilt, seen = behaviour(build_as, own)
    return told(build, multiple, rebuilt, (rule(at["reduction"], lengths(seen, i)) for i, at in enumerate(info)))


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


def behaviour(network: Network, own: Size) -> tuple[Mapping[str, Any], int, int, dict[Size, Shapes]]:
    """What to build with, the multiples it then takes, those it can be built for, and its maps at some sizes."""
    nets = []
    for build in FLEXIBLE:
        if net := network(**build):
            nets.append((build, net))
            seen = shapes_at(net, own, (own[0] + 1, own[1] + 31), (own[0] + 80, own[1] + 47))
            if len(seen) == 3:
                return build, 1, 0, narrowed(net, own, seen)
    for multiple, (build, net) in product(MULTIPLES, nets):
        seen = shapes_at(net, *larger(own, multiple), own)
        if len(seen) == 3:
            return build, multiple, 0, seen
    for multiple in (1, *MULTIPLES):
        seen = {}
        for size in larger(own, multiple):
            seen |= shapes_at(network(img_size=size), size)
        if len(seen) == 2:
            return {}, 0, multiple, seen
    return {}, 0, 0, shapes_at(nets[0][1], own)


def rules_like(other: Facts, strides: Sequence[int]) -> list[tuple[int, int]]:
    """The steps and shifts of another network's stages for stages of these strides; empty where they don't tell."""
    if [stage.stride for stage in other.stages] == strides:
        return [(stage.step, stage.shift) for stage in other.stages]
    known = {(stage.stride, stage.step, stage.shift) for stage in other.stages}
    by_stride = {stride: (step, shift) for stride, step, shift in known}
    agree = len(by_stride) == len(known) and by_stride.keys() >= set(strides)
    return [by_stride[stride] for stride in strides] if agree else []


def confirms(guess: Facts, network: Network, own: Size) -> bool:
    """Whether maps are as guessed at a size that a network of these facts is just about able to take."""
    odd = (own[0] + 17, own[1] + 31)
    if guess.multiple != 1 and shapes_at(network(**guess.build), odd):
        return False
    size = odd if guess.multiple == 1 else larger(own, guess.multiple or guess.rebuilt or 1)[1]
    if not (guess.multiple or guess.rebuilt):
        size = own
    net = network(img_size=size) if guess.rebuilt else network(**guess.build)
    return shapes_at(net, size) == {size: [stage.grid(*size) for stage in guess.stages]}


def larger(own: Size, multiple: int) -> tuple[Size, Size]:
    """Two sizes above a network's own, the first of them a square."""
    side = own[0] // multiple * multiple + multiple
    return (side, side), (side + multiple, side)


def network(architecture: str, **how: Any) -> Net:
    """A network with shapes but no values; None where timm can't build it so."""
    try:
        with torch.device("meta"):
            return timm.create_model(architecture, features_only=True, **how).eval()
    except REFUSALS:
        return None


def shapes_at(net: Net, *sizes: Size) -> dict[Size, Shapes]:
    """(H, W) of all maps, at those sizes that the network takes; nothing after the first that it doesn't."""
    seen: dict[Size, Shapes] = {}
    for size in sizes if net is not None else ():
        try:
            with torch.no_grad():
                maps = net(torch.empty(1, 3, *size, device="meta"))
        except REFUSALS:
            break
        rows = 1 if getattr(net, "output_fmt", "NCHW") == "NHWC" else 2
        seen[size] = [(x.shape[rows], x.shape[rows + 1]) for x in maps]
    return seen


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


def rule(stride: int, sides: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """The step and shift of a stage; see TimmStage."""
    outcomes = {side for _, side in sides}
    if len(outcomes) == 1 and max(sides)[0] - min(sides)[0] >= stride:
        return 0, outcomes.pop()
    for step in (stride, *range(1, 2 * stride)):
        if found := shifts(step, sides):
            return step, next((usual for usual in (0, step - 1) if usual in found), found[0])
    raise UnsupportedModel(f"No rule tells the sides of these maps from those of the images: {sorted(set(sides))}.")


def shifts(step: int, sides: Sequence[tuple[int, int]]) -> range:
    """The shifts with which floor((n + shift) / step) is right for each of these."""
    least = max(side * step - n for n, side in sides)
    most = min((side + 1) * step - 1 - n for n, side in sides)
    return range(least, most + 1)
