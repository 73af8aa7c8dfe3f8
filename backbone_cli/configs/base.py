"""What every backbone's configuration shares: reading, writing, and the choice of stages."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import InitVar, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from ..errors import StageError, UnsupportedModel, UsageError, did_you_mean
from ..hub import ModelName, write_json
from ..stages import Stage
from .fields import check_fields, pair

Config = TypeVar("Config", bound="BackboneConfig")

# The two ways to choose stages.
STAGE_KEYS = ("out_features", "out_indices")


class BackboneConfigMixin:
    """The choice of stages: `out_features` (names) and `out_indices`, which always agree.

    A class that uses this mixin sets `stage_names`, then calls `set_output_features_output_indices`. An invalid choice
    raises ValueError and leaves the previous one in place.
    """

    stage_names: list[str] = None  # type: ignore[assignment]  # set by the class that uses the mixin
    _out_features: list[str] | None = None
    _out_indices: list[int] | None = None

    def set_output_features_output_indices(
        self, out_features: list[str] | None, out_indices: Sequence[int] | None
    ) -> None:
        """Choose stages by name, by index, or by both if they agree; with neither, the last stage."""
        indices = list(out_indices) if isinstance(out_indices, tuple) else out_indices
        names = validate_stages(self.stage_names, out_features, indices)
        if indices is None:
            indices = [len(names) - 1] if out_features is None else [names.index(name) for name in out_features]
        self._out_features, self._out_indices = [names[index] for index in indices], list(indices)

    def verify_out_features_out_indices(self) -> None:
        """Raise ValueError if the chosen stages don't exist, repeat, are out of order, or disagree."""
        validate_stages(self.stage_names, self._out_features, self._out_indices)

    @property
    def out_features(self) -> list[str]:
        """The names of the requested stages."""
        return self._out_features or []

    @out_features.setter
    def out_features(self, out_features: list[str]) -> None:
        self.set_output_features_output_indices(out_features, None)

    @property
    def out_indices(self) -> list[int]:
        """The indices of the requested stages as they were given: negative ones count from the end."""
        return self._out_indices or []

    @out_indices.setter
    def out_indices(self, out_indices: Sequence[int]) -> None:
        self.set_output_features_output_indices(None, None if out_indices is None else list(out_indices))

    def to_dict(self) -> dict[str, Any]:
        """The contents of `config.json`, including the choice of stages."""
        parent = getattr(super(), "to_dict", None)
        raw_config = dict(parent() if parent else {k: v for k, v in vars(self).items() if not k.startswith("_")})
        raw_config.pop("_out_features", None)
        raw_config.pop("_out_indices", None)
        return raw_config | {"out_features": self._out_features, "out_indices": self._out_indices}


def validate_stages(names: list[str] | None, features: Any, indices: Any) -> list[str]:
    """The stage names, if stages can be chosen from them like this; otherwise raise StageError, a ValueError."""
    if names is None:
        raise StageError("stage_names must be set before stages can be chosen.")
    if features is not None:
        if not isinstance(features, list):
            raise StageError(f"out_features must be a list, got {type(features).__name__}.")
        if unknown := [name for name in features if name not in names]:
            raise StageError(f"out_features has {unknown}, which are not among the stages {names}.")
        check_order("out_features", features, [names.index(name) for name in features])
    if indices is not None:
        if not isinstance(indices, list):
            raise StageError(f"out_indices must be a list, got {type(indices).__name__}.")
        if unknown := [i for i in indices if not -len(names) <= i < len(names)]:
            raise StageError(f"out_indices has {unknown}, but the stages {names} are 0 to {len(names) - 1}.")
        check_order("out_indices", indices, [i % len(names) for i in indices])
    if features is not None and indices is not None:
        if len(features) != len(indices):
            raise StageError("out_features and out_indices must have the same length when both are given.")
        if features != [names[i] for i in indices]:
            raise StageError(f"out_features {features} and out_indices {indices} must name the same stages.")
    return names


def check_order(option: str, given: Sequence[Any], positions: Sequence[int]) -> None:
    if len(set(positions)) != len(positions):
        raise StageError(f"{option} must not contain any duplicates, got {given}.")
    if list(positions) != sorted(positions):
        ordered = [item for _, item in sorted(zip(positions, given, strict=True))]
        raise StageError(f"{option} must be in the same order as the stages: {ordered}, not {given}.")


@dataclass(kw_only=True)
class BackboneConfig(BackboneConfigMixin):
    """A family's configuration. Keys of a `config.json` that don't change a feature map are not kept.

    A family defines `num_features` and `strides`, one number per stage, and `map_sizes` if its arithmetic is not a
    plain division. Fields made with `bounded` check their numbers.
    """

    model_type: ClassVar[str]
    # Other names that config.json files use for a field.
    aliases: ClassVar[Mapping[str, str]] = {}
    # Fields that are only implemented for these values; any other is refused by name.
    supported: ClassVar[Mapping[str, tuple[Any, ...]]] = {}
    # What happens to a patch that extends past the image: "padded" into a whole one, or "cut" off.
    partial_patches: ClassVar[str] = "padded"
    # What the feature maps are, for users who need to know whether a norm or a downsampling came first.
    map_description: ClassVar[str] = "each stage's output, before the next stage's downsampling"

    output_hidden_states: bool = False
    out_features: InitVar[list[str] | None] = None
    out_indices: InitVar[Sequence[int] | None] = None
    # The mixin's attributes, declared as fields so that they count in comparisons and show in the repr.
    _out_features: list[str] | None = field(default=None, init=False, repr=False)
    _out_indices: list[int] | None = field(default=None, init=False)

    def __init_subclass__(cls) -> None:
        inherit_module_doc(cls)

    def __post_init__(self, out_features: list[str] | None, out_indices: Sequence[int] | None) -> None:
        for name, values in self.supported.items():
            if (value := getattr(self, name)) not in values:
                allowed = " or ".join(repr(v) for v in values)
                raise UnsupportedModel(f"{self.model_type} with {name}={value!r} is not supported; only {allowed} is.")
        check_fields(self)
        self.check()
        self.set_output_features_output_indices(out_features, out_indices)

    def check(self) -> None:
        """A family's own checks: raise ValueError for values that don't go together."""

    # --- stages ---------------------------------------------------------------------------------------------

    @property
    def stage_names(self) -> list[str]:  # type: ignore[override]  # an attribute of the mixin; derived here
        return ["stem", *(f"stage{i}" for i in range(1, len(self.num_features)))]

    @property
    def num_features(self) -> list[int]:
        """Channels of every stage."""
        raise NotImplementedError

    @property
    def strides(self) -> list[int]:
        """Image pixels per cell of the map, for every stage."""
        raise NotImplementedError

    @property
    def channels(self) -> list[int]:
        """Channels of the requested stages."""
        return [self.num_features[i] for i in self.requested]

    @property
    def stages(self) -> list[Stage]:
        columns = zip(self.stage_names, self.num_features, self.strides, strict=True)
        return [Stage(i, *column) for i, column in enumerate(columns)]

    @property
    def requested(self) -> list[int]:
        """The requested stages as plain ascending indices; computing stops after the last."""
        return [i % len(self.stage_names) for i in self.out_indices]

    def map_sizes(self, height: int, width: int) -> list[tuple[int, int]]:
        """(H, W) of every stage's map for an image of this size."""
        rows, cols = pair(getattr(self, "patch_size", 1))  # strides are vertical; patches may be oblong
        horizontal = [stride // rows * cols for stride in self.strides]
        if self.partial_patches == "padded":
            height, width = -height, -width  # so that floor division rounds up
        return [(abs(height // s), abs(width // h)) for s, h in zip(self.strides, horizontal, strict=True)]

    def map_shapes(self, height: int, width: int) -> list[tuple[int, ...]]:
        """(C, H, W) of every stage's map for an image of this size."""
        sizes = self.map_sizes(height, width)
        return [(c, h, w) for c, (h, w) in zip(self.num_features, sizes, strict=True)]

    def check_min_size(self, height: int, width: int, stages: Sequence[int] | None = None) -> None:
        """Raise UsageError if an image of this size leaves a stage (by default: a requested one) an empty map."""
        sizes = self.map_sizes(height, width)
        for i in self.requested if stages is None else stages:
            if min(sizes[i]) < 1:
                raise UsageError(
                    f"An image of {height}x{width} pixels is too small: it leaves nothing at"
                    f" {self.stage_names[i]}, whose stride is {self.strides[i]}. Use a larger image size."
                )

    def default_size(self) -> tuple[int, int]:
        """The image size that the model was made for, if its config says so; else ImageNet's 224 x 224."""
        return pair(getattr(self, "image_size", None) or 224)

    def set_image_size(self, height: int, width: int) -> None:
        """Announce that all images will have this size, for networks that must be built for one."""

    # --- reading and writing --------------------------------------------------------------------------------

    @classmethod
    def from_dict(cls: type[Config], raw_config: Mapping[str, Any], **overrides: Any) -> Config:
        """From the contents of a `config.json`, ignoring keys that don't matter here; `overrides` win over it."""
        known = {f.name for f in fields(cls) if f.init} | set(STAGE_KEYS)
        overrides = {cls.aliases.get(k, k): v for k, v in overrides.items() if v is not None or k not in STAGE_KEYS}
        if unknown := [key for key in overrides if key not in known]:
            raise UsageError(f"{cls.__name__} has no '{unknown[0]}'.{did_you_mean(unknown[0], known)}")
        chooses = not overrides.keys().isdisjoint(STAGE_KEYS)
        values = {cls.aliases.get(k, k): v for k, v in raw_config.items() if not (chooses and k in STAGE_KEYS)}
        try:
            return cls(**{key: value for key, value in (values | overrides).items() if key in known})
        except (TypeError, ValueError, AttributeError, LookupError, ArithmeticError) as error:
            if isinstance(error, UnsupportedModel) or (chooses and isinstance(error, StageError)):
                raise
            raise UnsupportedModel(f"This {cls.model_type} config is invalid: {error}") from error

    def to_dict(self) -> dict[str, Any]:
        raw_config = {"model_type": self.model_type} | {f.name: getattr(self, f.name) for f in fields(self) if f.init}
        return raw_config | {
            "stage_names": self.stage_names,
            "out_features": self.out_features,
            "out_indices": self.out_indices,
        }

    @classmethod
    def from_pretrained(cls: type[Config], model: ModelName, **kwargs: Any) -> Config:
        """The configuration of a model on the Hub or in a folder; see `AutoConfig.from_pretrained`."""
        from ..resolve import load_config

        return load_config(model, cls, **kwargs)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write `config.json` into a folder, creating it if needed."""
        write_json(folder, "config.json", self.to_dict())


# A dataclass puts each field's default on the class, which hides the mixin's properties: put them back.
BackboneConfig.out_features = BackboneConfigMixin.out_features  # type: ignore[method-assign]
BackboneConfig.out_indices = BackboneConfigMixin.out_indices  # type: ignore[method-assign]


def inherit_module_doc(cls: type) -> None:
    """Give a family's class without a docstring its module's, for `help()`."""
    cls.__doc__ = cls.__dict__.get("__doc__") or getattr(sys.modules.get(cls.__module__), "__doc__", None)


def doubling(first: int, count: int) -> list[int]:
    """`first`, then twice as much at every step: the widths and strides of most pyramids."""
    return [first * 2**i for i in range(count)]


def check_same_length(**lists: Iterable[Any]) -> None:
    """Raise ValueError if lists with one value per stage differ in length."""
    lengths = {name: len(list(values)) for name, values in lists.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(", ".join(f"{name} has {n} values" for name, n in lengths.items()) + ".")


def check_long_enough(count: int, **lists: Sequence[Any]) -> None:
    """Raise ValueError if a list has fewer than `count` values; extra ones do no harm."""
    for name, values in lists.items():
        if len(values) < count:
            raise ValueError(f"{name} has {len(values)} values for {count} stages.")
