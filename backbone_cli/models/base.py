"""What every backbone shares: a story told stage by stage, and a forward pass that stops listening in time."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._pytree import register_pytree_node

from ..checkpoint import Weights, put, save
from ..configs.base import BackboneConfig, BackboneConfigMixin, describe
from ..errors import StageError, UsageError
from ..hub import Name
from ..stages import list_stages

B = TypeVar("B", bound="Backbone")

Source = str | tuple[str, ...]
Names = Mapping[str, Source | list[Source]]
"""Our names on the left, the checkpoint's on the right; `*` stands for one part of a name, the same on both sides.

A row speaks for a module or for one tensor; what follows our name on the left follows the checkpoint's on the right.
A tuple is several tensors laid one after another (query, key, value); a list is alternatives, the usual one first.
"""

# For `may_lack`: only the backbone class has these norms; every other checkpoint leaves them as they start.
STAGE_NORMS = {"hidden_states_norms.*.weight": 1.0, "hidden_states_norms.*.bias": 0.0}


@dataclass
class Output:
    """What a model returns: by attribute, by key, or by position among what is there (is not None)."""

    def __init_subclass__(cls) -> None:
        # So that torch.export can take it apart, and name it in a file.
        name = f"{cls.__module__}.{cls.__qualname__}"
        register_pytree_node(cls, leaves, partial(rebuilt, cls), serialized_type_name=name)

    def keys(self) -> list[str]:
        return [field.name for field in fields(self) if getattr(self, field.name) is not None]

    def values(self) -> list[Any]:
        return [getattr(self, key) for key in self.keys()]

    def items(self) -> list[tuple[str, Any]]:
        return list(zip(self.keys(), self.values(), strict=True))

    def to_tuple(self) -> tuple[Any, ...]:
        return tuple(self.values())

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


def leaves(output: Output) -> tuple[list[Any], list[str]]:
    return output.values(), output.keys()


def rebuilt(cls: type[Output], values: Iterable[Any], keys: list[str]) -> Output:
    return cls(**dict(zip(keys, values, strict=True)))


@dataclass
class BackboneOutput(Output):
    """What a backbone returns: by attribute, by key, or by position among what is there."""

    feature_maps: tuple[Tensor, ...]
    """(B, C, H, W) for each stage asked for, in the order of the stages."""
    hidden_states: tuple[Tensor, ...] | None = None
    """Every stage's state up to the last stage asked for, where `output_hidden_states=True`."""
    attentions: tuple[Tensor, ...] | None = None
    """Always None: the attention here is fused and never forms the weights."""


class BackboneMixin:
    """The stages of a backbone as its users see them, by the choice that its `config` (a `BackboneConfigMixin`) makes.

    A class of one's own mixes this in before `nn.Module` and calls `super().__init__(config)`; where its config
    has no `num_features`, it sets `self.num_features`, channels for every stage, itself.
    """

    config: Any
    has_attentions: ClassVar[bool] = True

    def __init__(self, config: Any) -> None:
        super().__init__()
        config.verify_out_features_out_indices()
        self.config = config

    @property
    def stage_names(self) -> list[str]:
        return self.config.stage_names

    @property
    def num_features(self) -> list[int]:
        """Channels of every stage."""
        return vars(self).get("_num_features") or self.config.num_features

    @num_features.setter
    def num_features(self, num_features: list[int]) -> None:
        self._num_features = num_features

    @property
    def out_features(self) -> list[str]:
        """The names of the stages asked for."""
        return self.config.out_features

    @out_features.setter
    def out_features(self, out_features: list[str]) -> None:
        self.choose(out_features=out_features)

    @property
    def out_indices(self) -> list[int]:
        """The indices of the stages asked for."""
        return self.config.out_indices

    @out_indices.setter
    def out_indices(self, out_indices: Sequence[int]) -> None:
        self.choose(out_indices=out_indices)

    def choose(self, out_features: list[str] | None = None, out_indices: Sequence[int] | None = None) -> None:
        """Ask for other stages."""
        indices = None if out_indices is None else list(out_indices)
        self.config.set_output_features_output_indices(out_features, indices)

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


class Model(nn.Module):
    """A module that is read from checkpoints, and written to them, under the names that transformers gives tensors."""

    config: Any

    def names(self) -> Names:
        """The table of tensor names."""
        raise NotImplementedError

    def adapt(self, weights: Weights) -> Weights:
        """The weights as this model reads them, where more than their names has changed since they were saved."""
        return weights

    def may_lack(self) -> Mapping[str, float]:
        """Names (the checkpoint's) of tensors that a good checkpoint may lack, and the value that then fills them."""
        return {}

    def save_pretrained(self, folder: str | Path) -> None:
        """Write `config.json` and `model.safetensors` into a folder; both this package and transformers load it."""
        save(self, folder)

    @property
    def device(self) -> torch.device:
        return next(self.parameters(), NOTHING).device

    @property
    def dtype(self) -> torch.dtype:
        return next(self.parameters(), NOTHING).dtype


class Backbone(BackboneMixin, Model):
    """The base of every family. A family writes `states` and, where a state is not yet a map, `feature_map`.

    It builds no part that lies past the last stage asked for (`self.last`).
    """

    config: BackboneConfig
    # Gives their values to tensors that have none yet (that lie on the meta device); None where nothing is
    # remembered, as for a model that was built by its class and holds what torch draws.
    origin: Callable[[Any], None] | None = None

    def __init_subclass__(cls) -> None:
        describe(cls)

    def __init__(self, config: BackboneConfig) -> None:
        if not config.out_indices:
            raise StageError(f"No stage is asked for. Choose from {list_stages(config.stage_names)}.")
        super().__init__(copy(config))
        self.wanted = self.config.wanted

    @property
    def last(self) -> int:
        """The index of the last stage asked for."""
        return self.wanted[-1]

    def states(self, pixels: Tensor) -> Iterator[Tensor]:
        """The state of every stage in turn; whoever iterates stops when it has what it needs."""
        raise NotImplementedError

    def feature_map(self, index: int, state: Tensor, size: tuple[int, int]) -> Tensor:
        """The map (B, C, H, W) that the state of a stage makes, for pixels of this (H, W)."""
        return state

    def class_token(self, index: int, state: Tensor) -> Tensor | None:
        """The class token (B, C) in the state of a stage, treated as the map is; None where there is none."""
        return None

    def forward(
        self,
        pixel_values: Tensor,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
    ) -> BackboneOutput | tuple[Any, ...]:
        """Pixels (B, C, H, W), as an image processor makes them, to the maps of the stages asked for."""
        self.check(pixel_values)
        if output_hidden_states is None:
            output_hidden_states = self.config.output_hidden_states
        size = (pixel_values.shape[-2], pixel_values.shape[-1])
        kept, maps = [], []
        for index, state in zip(range(self.last + 1), self.states(pixel_values), strict=False):
            if output_hidden_states:
                kept.append(state)
            if index in self.wanted:
                maps.append(self.feature_map(index, state, size))
        output = BackboneOutput(tuple(maps), tuple(kept) if output_hidden_states else None)
        return output if return_dict is not False else output.to_tuple()

    def check(self, pixel_values: Tensor) -> None:
        channels = getattr(self.config, "num_channels", None)
        if pixel_values.ndim != 4 or (channels and pixel_values.shape[1] != channels):
            raise UsageError(
                f"pixel_values must be (batch, {channels}, height, width), not {tuple(pixel_values.shape)}."
            )
        if self.wanted != self.config.wanted:
            raise StageError("The model's config was given other stages; set out_indices on the model itself.")

    # --- other stages ---------------------------------------------------------------------------------------

    def choose(self, out_features: list[str] | None = None, out_indices: Sequence[int] | None = None) -> None:
        """Ask for other stages: parts that are now needed are built and get their weights; none is taken away."""
        config = copy(self.config)
        config.set_output_features_output_indices(out_features, None if out_indices is None else list(out_indices))
        if self.origin is None:
            other = type(self)(config)
        else:
            with torch.device("meta"):
                other = type(self)(config).to(self.dtype)
            mine = self.state_dict(keep_vars=True)
            for name in other.state_dict().keys() & mine.keys():
                put(other, name, mine[name])
            self.origin(other)
        adopt(self, other.to(self.device, self.dtype).train(self.training))
        for name in vars(other).keys() - vars(nn.Module()).keys():
            setattr(self, name, getattr(other, name))

    # --- reading and writing --------------------------------------------------------------------------------

    @classmethod
    def from_pretrained(cls: type[B], model: Name, **kwargs: Any) -> B:
        """Load a model of this family from the hub or a folder; see `AutoBackbone.from_pretrained`."""
        from ..auto import AutoBackbone

        backbone = AutoBackbone.from_pretrained(model, **kwargs)
        if not isinstance(backbone, cls):
            raise UsageError(f"'{model}' is a {type(backbone).__name__}, not a {cls.__name__}; use AutoBackbone.")
        return backbone


# Speaks for a backbone without parameters: one whose first stage is the image itself, and no other asked for.
NOTHING = torch.empty(0, device="cpu")


def adopt(mine: nn.Module, other: nn.Module) -> None:
    """Take over the parts and the tensors of `other` that `mine` lacks."""
    for name, part in other.named_children():
        known = mine._modules.get(name)
        if known is None:
            mine.add_module(name, part)
        elif type(known) is type(part):  # else it was replaced on purpose, by one that is faster for example
            adopt(known, part)
    for name, parameter in other.named_parameters(recurse=False):
        if mine._parameters.get(name) is None:
            mine.register_parameter(name, parameter)
    for name, buffer in other.named_buffers(recurse=False):
        if mine._buffers.get(name) is None:
            mine.register_buffer(name, buffer)


__all__ = [
    "STAGE_NORMS",
    "Backbone",
    "BackboneConfigMixin",
    "BackboneMixin",
    "BackboneOutput",
    "Model",
    "Names",
    "Output",
    "Source",
]
