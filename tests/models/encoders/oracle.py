"""Encoders that transformers has no backbone class for, observed with hooks: what enters the first block, and what
each block returns. `hidden_states` won't do, since some models norm the last of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from pydoc import locate
from typing import Any

import torch
import transformers
from torch import Tensor, nn

from backbone_cli import registry
from tests.models.parity import randomized

Config = dict[str, Any]

TINY: Config = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 40}
TINY |= {"image_size": 32, "patch_size": 8}

TEXT: Config = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
TEXT |= {"vocab_size": 99, "max_position_embeddings": 20}


@dataclass(frozen=True)
class Whole:
    """A transformers class of a whole model, that contains the encoder."""

    cls: str
    config: Callable[[Config], Any]
    """From the encoder's raw config to the whole model's configuration."""
    path: str
    """Where the encoder is in the model."""


@dataclass(frozen=True)
class Encoder:
    """One family's row."""

    model_type: str
    cls: str
    """transformers' class of the encoder alone."""
    blocks: str
    """Where its blocks are."""
    norm: str | None
    """The norm of its maps."""
    inner: str = ""
    """Where in that class the module is that all paths start from, also those of `wholes`."""
    prefix: int = 1
    suffix: Callable[[Config], int] = lambda config: 0
    small: Config = field(default_factory=lambda: TINY)
    configs: Mapping[str, Config] = field(default_factory=dict)
    sizes: tuple[tuple[int, int], ...] = ((32, 32), (41, 67), (48, 16))
    resizes: bool = True
    """Whether its forward pass has `interpolate_pos_encoding`."""
    neck: bool = False
    """Whether its blocks are followed by a neck, and its states are (B, H, W, C)."""
    wholes: tuple[Whole, ...] = ()
    call: Callable[[nn.Module, Tensor], Any] | None = None
    """How to call it, if not with pixels alone."""

    @property
    def stem(self) -> str:
        return registry.find_family(self.model_type).stem

    def config(self, name: str) -> Config:
        return {**self.small, **self.configs[name]}

    def build(self, raw_config: Config) -> nn.Module:
        config = getattr(transformers, f"{self.stem}Config")(**raw_config)
        torch.manual_seed(0)
        return randomized(locate(f"transformers.{self.cls}")(config).eval())

    def maps(self, encoder: nn.Module, raw_config: Config, pixels: Tensor) -> list[Tensor]:
        """The maps of every stage."""
        states = self.observe(encoder, raw_config, pixels)
        if self.norm and raw_config.get("apply_layernorm", True):
            with torch.no_grad():
                states = [submodule(encoder, self.norm)(state) for state in states]
        if states[0].ndim == 4:  # B H W C, except what a neck returns
            return [
                state if self.neck and i == len(states) - 1 else state.permute(0, 3, 1, 2)
                for i, state in enumerate(states)
            ]
        if not raw_config.get("reshape_hidden_states", True):
            return states
        patch = raw_config["patch_size"]
        rows, cols = (patch, patch) if isinstance(patch, int) else patch
        grid = pixels.shape[-2] // rows, pixels.shape[-1] // cols
        end = -self.suffix(raw_config) or None
        return [state[:, self.prefix : end].unflatten(1, grid).permute(0, 3, 1, 2) for state in states]

    def observe(self, encoder: nn.Module, raw_config: Config, pixels: Tensor) -> list[Tensor]:
        blocks = submodule(encoder, self.blocks)
        states: list[Tensor] = []

        def before(module: nn.Module, args: Any, kwargs: Any) -> None:
            states.append(args[0] if args else kwargs["hidden_states"])

        def after(module: nn.Module, args: Any, output: Any) -> None:
            states.append(output if isinstance(output, Tensor) else output[0])

        hooks = [blocks[0].register_forward_pre_hook(before, with_kwargs=True)]
        hooks += [block.register_forward_hook(after) for block in blocks]
        hooks += [encoder.neck.register_forward_hook(after)] if self.neck else []
        own = raw_config["image_size"] if "image_size" in raw_config else pixels.shape[-1]
        is_own = tuple(pixels.shape[-2:]) == (own if isinstance(own, tuple) else (own, own))
        options = {"interpolate_pos_encoding": True} if self.resizes and not is_own else {}
        with torch.no_grad():
            if self.call is not None:
                self.call(encoder, pixels)
            else:
                encoder(pixels, **options)
        for hook in hooks:
            hook.remove()
        return states


def submodule(module: nn.Module, path: str) -> Any:
    return reduce(getattr, path.split("."), module) if path else module


def with_text(name: str, **more: Any) -> Callable[[Config], Any]:
    """The configuration of a model of images and texts."""
    return lambda vision: getattr(transformers, name)(vision_config=vision, text_config=TEXT, **more)
