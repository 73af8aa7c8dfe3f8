"""What every backbone shares: stages yielded lazily, and a forward pass that stops after the last one requested."""

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

from ..checkpoint import Checkpoint, save_model, set_tensor
from ..configs.base import BackboneConfig, BackboneConfigMixin, inherit_module_doc
from ..errors import StageError, UsageError
from ..hub import ModelName
from ..stages import list_stages

B = TypeVar("B", bound="Backbone")

Source = str | tuple[str, ...]
Names = Mapping[str, Source | list[Source]]
"""Module names on the left, checkpoint names on the right; `*` stands for one part of a name, the same on both sides.

A row maps a module or a single tensor; whatever follows the name on the left follows the one on the right. A tuple is
several tensors to concatenate (query, key, value); a list is alternatives, the usual one first.
"""

# For `optional_tensors`: only backbone classes save these norms; for other checkpoints they keep their initial values.
STAGE_NORMS = {"hidden_states_norms.*.weight": 1.0, "hidden_states_norms.*.bias": 0.0}


@dataclass
class Output:
    """What a model returns: by attribute, by key, or by position among the fields that are not None."""

    def __init_subclass__(cls) -> None:
        # Registered so that torch.export can flatten it and save its type.
        name = f"{cls.__module__}.{cls.__qualname__}"
        register_pytree_node(cls, flatten_output, partial(unflatten_output, cls), serialized_type_name=name)

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


def flatten_output(output: Output) -> tuple[list[Any], list[str]]:
    return output.values(), output.keys()


def unflatten_output(cls: type[Output], values: Iterable[Any], keys: list[str]) -> Output:
    return cls(**dict(zip(keys, values, strict=True)))


@dataclass
class BackboneOutput(Output):
    """What a backbone returns: by attribute, by key, or by position among the fields that are not None."""

    feature_maps: tuple[Tensor, ...]
    """(B, C, H, W) for each requested stage, in the order of the stages."""
    hidden_states: tuple[Tensor, ...] | None = None
    """Every stage's state up to the last requested one, if `output_hidden_states=True`."""
    attentions: tuple[Tensor, ...] | None = None
    """Always None: attention is fused and its weights are never formed."""


class BackboneMixin:
    """The stages of a backbone as its users see them, chosen by its `config` (a `BackboneConfigMixin`).

    Your own class lists this mixin before `nn.Module` and calls `super().__init__(config)`. If its config has no
    `num_features`, it sets `self.num_features`, the channels of every stage, itself.
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
        """The names of the requested stages."""
        return self.config.out_features

    @out_features.setter
    def out_features(self, out_features: list[str]) -> None:
        self.set_stages(out_features=out_features)

    @property
    def out_indices(self) -> list[int]:
        """The indices of the requested stages."""
        return self.config.out_indices

    @out_indices.setter
    def out_indices(self, out_indices: Sequence[int]) -> None:
        self.set_stages(out_indices=out_indices)

    def set_stages(self, out_features: list[str] | None = None, out_indices: Sequence[int] | None = None) -> None:
        """Choose other stages."""
        indices = None if out_indices is None else list(out_indices)
        self.config.set_output_features_output_indices(out_features, indices)

    @property
    def out_feature_channels(self) -> dict[str, int]:
        """Channels of every stage, by name."""
        return dict(zip(self.stage_names, self.num_features, strict=True))

    @property
    def channels(self) -> list[int]:
        """Channels of the requested stages."""
        return [self.out_feature_channels[name] for name in self.out_features]

    @property
    def strides(self) -> list[int]:
        """Image pixels per cell, for the requested stages."""
        by_name = dict(zip(self.stage_names, self.config.strides, strict=True))
        return [by_name[name] for name in self.out_features]

    def forward_with_filtered_kwargs(self, *args: Any, **kwargs: Any) -> Any:
        """Call the backbone with only those keywords that its `forward` accepts."""
        known = inspect.signature(self.forward).parameters  # type: ignore[attr-defined]
        return self(*args, **{key: value for key, value in kwargs.items() if key in known})  # type: ignore[operator]


class Model(nn.Module):
    """A module that reads and writes checkpoints with transformers' tensor names."""

    config: Any

    def names(self) -> Names:
        """The table of tensor names."""
        raise NotImplementedError

    def adapt(self, weights: Checkpoint) -> Checkpoint:
        """The checkpoint as this model reads it, if more than names has to change."""
        return weights

    def optional_tensors(self) -> Mapping[str, float]:
        """Checkpoint names of tensors that a valid checkpoint may lack -> the value to fill them with."""
        return {}

    def save_pretrained(self, folder: str | Path) -> None:
        """Write `config.json` and `model.safetensors` into a folder; this package and transformers can both load it."""
        save_model(self, folder)

    @property
    def device(self) -> torch.device:
        return next(self.parameters(), EMPTY).device

    @property
    def dtype(self) -> torch.dtype:
        return next(self.parameters(), EMPTY).dtype


class Backbone(BackboneMixin, Model):
    """The base of every family. A family defines `states` and, if a state is not a map yet, `feature_map`.

    It builds nothing beyond the last requested stage (`self.last`).
    """

    config: BackboneConfig
    # Fills tensors that have no values yet (that are on the meta device), also for stages added later. None for a
    # model that was built by its class and has torch's own initialization.
    weight_source: Callable[[Any], None] | None = None

    def __init_subclass__(cls) -> None:
        inherit_module_doc(cls)

    def __init__(self, config: BackboneConfig) -> None:
        if not config.out_indices:
            raise StageError(f"No stage was requested. Choose from {list_stages(config.stage_names)}.")
        super().__init__(copy(config))
        self.requested = self.config.requested

    @property
    def last(self) -> int:
        """The index of the last requested stage."""
        return self.requested[-1]

    def states(self, pixels: Tensor) -> Iterator[Tensor]:
        """Yield the state of every stage in turn; the caller stops after the last one it needs."""
        raise NotImplementedError

    def feature_map(self, index: int, state: Tensor, size: tuple[int, int]) -> Tensor:
        """The map (B, C, H, W) of a stage's state, for pixels of this (H, W)."""
        return state

    def class_token(self, index: int, state: Tensor) -> Tensor | None:
        """The class token (B, C) in a stage's state, normed like the map; None if there is none."""
        return None

    def forward(
        self,
        pixel_values: Tensor,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
    ) -> BackboneOutput | tuple[Any, ...]:
        """Pixels (B, C, H, W), as an image processor makes them, to the maps of the requested stages."""
        self.check(pixel_values)
        if output_hidden_states is None:
            output_hidden_states = self.config.output_hidden_states
        size = (pixel_values.shape[-2], pixel_values.shape[-1])
        kept, maps = [], []
        for index, state in zip(range(self.last + 1), self.states(pixel_values), strict=False):
            if output_hidden_states:
                kept.append(state)
            if index in self.requested:
                maps.append(self.feature_map(index, state, size))
        output = BackboneOutput(tuple(maps), tuple(kept) if output_hidden_states else None)
        return output if return_dict is not False else output.to_tuple()

    def check(self, pixel_values: Tensor) -> None:
        channels = getattr(self.config, "num_channels", None)
        if pixel_values.ndim != 4 or (channels and pixel_values.shape[1] != channels):
            raise UsageError(
                f"pixel_values must be (batch, {channels}, height, width), not {tuple(pixel_values.shape)}."
            )
        if self.requested != self.config.requested:
            raise StageError("The stages were changed on the model's config; set out_indices on the model itself.")

    # --- other stages ---------------------------------------------------------------------------------------

    def set_stages(self, out_features: list[str] | None = None, out_indices: Sequence[int] | None = None) -> None:
        """Choose other stages: parts that are now needed are built and loaded; none is removed."""
        config = copy(self.config)
        config.set_output_features_output_indices(out_features, None if out_indices is None else list(out_indices))
        if self.weight_source is None:
            other = type(self)(config)
        else:
            with torch.device("meta"):
                other = type(self)(config).to(self.dtype)
            current = self.state_dict(keep_vars=True)
            for name in other.state_dict().keys() & current.keys():
                set_tensor(other, name, current[name])
            self.weight_source(other)
        adopt_missing(self, other.to(self.device, self.dtype).train(self.training))
        for name in vars(other).keys() - vars(nn.Module()).keys():
            setattr(self, name, getattr(other, name))

    # --- reading and writing --------------------------------------------------------------------------------

    @classmethod
    def from_pretrained(cls: type[B], model: ModelName, **kwargs: Any) -> B:
        """Load a model of this family from the hub or a folder; see `AutoBackbone.from_pretrained`."""
        from ..auto import AutoBackbone

        backbone = AutoBackbone.from_pretrained(model, **kwargs)
        if not isinstance(backbone, cls):
            raise UsageError(f"'{model}' is a {type(backbone).__name__}, not a {cls.__name__}; use AutoBackbone.")
        return backbone


# Stands in for the parameters of a backbone that has none: if only the image itself is requested as a stage.
EMPTY = torch.empty(0, device="cpu")


def adopt_missing(module: nn.Module, other: nn.Module) -> None:
    """Add the submodules and tensors of `other` that `module` lacks."""
    for name, part in other.named_children():
        existing = module._modules.get(name)
        if existing is None:
            module.add_module(name, part)
        elif type(existing) is type(part):  # otherwise it was replaced on purpose, for example by a packed layer
            adopt_missing(existing, part)
    for name, parameter in other.named_parameters(recurse=False):
        if module._parameters.get(name) is None:
            module.register_parameter(name, parameter)
    for name, buffer in other.named_buffers(recurse=False):
        if module._buffers.get(name) is None:
            module.register_buffer(name, buffer)


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
