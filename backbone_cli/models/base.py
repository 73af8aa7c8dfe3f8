"""What every backbone shares: a story told stage by stage, and a forward pass that stops listening in time."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..configs.base import BackboneConfig, BackboneConfigMixin

Source = str | tuple[str, ...]
Names = Mapping[str, Source | list[Source]]
"""Our names on the left, the checkpoint's on the right; `*` stands for one part of a name, the same on both sides.

A row speaks for a module or for one tensor; what follows our name on the left follows the checkpoint's on the right.
A tuple is several tensors laid one after another (query, key, value); a list is alternatives, the usual one first.
"""


@dataclass
class BackboneOutput:
    """What a backbone returns: by attribute, by key, or by position among what is there."""

    feature_maps: tuple[Tensor, ...]
    """(B, C, H, W) for each stage asked for, in the order of the stages."""
    hidden_states: tuple[Tensor, ...] | None = None
    """Every stage's state, where asked for with `output_hidden_states=True`."""
    attentions: tuple[Tensor, ...] | None = None
    """Always None: the attention here is fused and never forms the weights."""

    def keys(self) -> list[str]:
        return [field.name for field in fields(self) if getattr(self, field.name) is not None]

    def to_tuple(self) -> tuple[Any, ...]:
        return tuple(getattr(self, key) for key in self.keys())

    def __getitem__(self, key: str | int | slice) -> Any:
        if isinstance(key, str):
            if key not in self.keys():
                raise KeyError(key)
            return getattr(self, key)
        return self.to_tuple()[key]

    def __contains__(self, key: object) -> bool:
        return key in self.keys()

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __len__(self) -> int:
        return len(self.keys())


class BackboneMixin:
    """The stages of a backbone as its users see them. A class that mixes this in has a `config` that chooses them."""

    config: Any
    has_attentions: ClassVar[bool] = True

    @property
    def stage_names(self) -> list[str]:
        return self.config.stage_names

    @property
    def num_features(self) -> list[int]:
        """Channels of every stage."""
        return self.config.num_features

    @property
    def out_features(self) -> list[str]:
        """The names of the stages asked for."""
        return self.config.out_features

    @out_features.setter
    def out_features(self, out_features: list[str]) -> None:
        self.config.out_features = out_features

    @property
    def out_indices(self) -> list[int]:
        """The indices of the stages asked for."""
        return self.config.out_indices

    @out_indices.setter
    def out_indices(self, out_indices: Sequence[int]) -> None:
        self.config.out_indices = out_indices

    @property
    def out_feature_channels(self) -> dict[str, int]:
        """Channels of every stage, by name."""
        return dict(zip(self.stage_names, self.num_features, strict=True))

    @property
    def channels(self) -> list[int]:
        """Channels of the stages asked for."""
        return [self.out_feature_channels[name] for name in self.out_features]

    @property
    def strides(self) -> list[int]:
        """Image pixels to one cell, for the stages asked for."""
        by_name = dict(zip(self.stage_names, self.config.strides, strict=True))
        return [by_name[name] for name in self.out_features]

    def forward_with_filtered_kwargs(self, *args: Any, **kwargs: Any) -> Any:
        """Call the backbone with those of the keywords that its `forward` takes."""
        known = inspect.signature(self.forward).parameters  # type: ignore[attr-defined]
        return self(*args, **{key: value for key, value in kwargs.items() if key in known})  # type: ignore[operator]


class Backbone(BackboneMixin, nn.Module):
    """The base of every family. A family writes `states` and, where a state is not yet a map, `feature_map`.

    It builds no part that lies past the last stage asked for (`self.last`).
    """

    config: BackboneConfig

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.config = config

    @property
    def last(self) -> int:
        """The index of the last stage asked for."""
        return self.config.wanted[-1]

    def states(self, pixels: Tensor) -> Iterator[Tensor]:
        """The state of every stage in turn; whoever iterates stops when it has what it needs."""
        raise NotImplementedError

    def feature_map(self, index: int, state: Tensor, size: tuple[int, int]) -> Tensor:
        """The map (B, C, H, W) that the state of a stage makes, for pixels of this (H, W)."""
        return state

    def class_token(self, index: int, state: Tensor) -> Tensor | None:
        """The class token (B, C) in the state of a stage, treated as the map is; None where there is none."""
        return None

    def names(self) -> Names:
        """The table of tensor names."""
        raise NotImplementedError

    def may_lack(self) -> Mapping[str, float]:
        """Names (the checkpoint's) of tensors that a good checkpoint may lack, and the value that then fills them."""
        return {}

    def forward(
        self,
        pixel_values: Tensor,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
    ) -> BackboneOutput | tuple[Any, ...]:
        self.check(pixel_values)
        size = (pixel_values.shape[-2], pixel_values.shape[-1])
        wanted = set(self.config.wanted)
        kept, maps = [], []
        for index, state in zip(range(self.last + 1), self.states(pixel_values), strict=False):
            if output_hidden_states:
                kept.append(state)
            if index in wanted:
                maps.append(self.feature_map(index, state, size))
        output = BackboneOutput(tuple(maps), tuple(kept) if output_hidden_states else None)
        return output if return_dict is not False else output.to_tuple()

    def check(self, pixel_values: Tensor) -> None:
        channels = getattr(self.config, "num_channels", None)
        if pixel_values.ndim != 4 or (channels and pixel_values.shape[1] != channels):
            raise ValueError(
                f"pixel_values must be (batch, {channels}, height, width), not {tuple(pixel_values.shape)}."
            )

    @property
    def device(self) -> torch.device:
        return next(self.parameters(), NOTHING).device

    @property
    def dtype(self) -> torch.dtype:
        return next(self.parameters(), NOTHING).dtype


# Speaks for a backbone without parameters: one whose first stage is the image itself, and no other asked for.
NOTHING = torch.empty(0)


__all__ = ["Backbone", "BackboneConfigMixin", "BackboneMixin", "BackboneOutput", "Names", "Source"]
