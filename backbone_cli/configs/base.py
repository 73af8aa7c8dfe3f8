"""What every backbone's configuration shares: reading, writing, and the choice of stages."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import InitVar, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from ..errors import StageError, UnsupportedModel, UsageError, near_miss
from ..hub import Name, write_json
from ..stages import Stage

Config = TypeVar("Config", bound="BackboneConfig")

Size = int | Sequence[int]

# What the numbers of a network are at least, by the names that families have for them. Nothing that exists has one
# above MOST, and a list as long as a wrong number says would fill the memory.
LEAST = dict.fromkeys(
    (
        *("image_size", "img_size", "pretrain_image_size", "patch_size", "window_size", "kernel_size", "output_stride"),
        *("num_channels", "embed_dim", "embedding_size", "hidden_size", "hidden_sizes", "intermediate_size"),
        *("num_attention_heads", "num_heads", "num_experts", "num_groups", "width_factor", "focal_windows"),
        *("stem_channels", "stem_strides", "stage_in_channels", "stage_mid_channels", "stage_out_channels"),
        *("stage_downsample_strides", "stage_kernel_size"),
    ),
    1,
) | dict.fromkeys(
    (
        *("depths", "num_hidden_layers", "num_stages", "stage_num_blocks", "stage_numb_of_layers", "focal_levels"),
        *("num_register_tokens", "part_features", "pretrained_window_sizes", "mlp_ratio", "layer_norm_eps"),
    ),
    0,
)
MOST = 2**20

# The two ways to say which stages are asked for.
CHOICE = ("out_features", "out_indices")


class BackboneConfigMixin:
    """The choice of stages: `out_features` (names) and `out_indices`, each always agreeing with the other.

    A class that mixes this in sets `stage_names`, then calls `set_output_features_output_indices`. A choice that
    makes no sense raises ValueError and leaves the former one in place.
    """

    stage_names: list[str] = None  # type: ignore[assignment]  # set by the class that mixes this in
    _out_features: list[str] | None = None
    _out_indices: list[int] | None = None

    def set_output_features_output_indices(
        self, out_features: list[str] | None, out_indices: Sequence[int] | None
    ) -> None:
        """Choose stages by name, by index, or by both where they agree; by neither, the last stage."""
        indices = list(out_indices) if isinstance(out_indices, tuple) else out_indices
        names = check_choice(self.stage_names, out_features, indices)
        if indices is None:
            indices = [len(names) - 1] if out_features is None else [names.index(name) for name in out_features]
        self._out_features, self._out_indices = [names[index] for index in indices], list(indices)

    def verify_out_features_out_indices(self) -> None:
        """Raise ValueError where the stages chosen don't exist, repeat, stand out of order, or disagree."""
        check_choice(self.stage_names, self._out_features, self._out_indices)

    @property
    def out_features(self) -> list[str]:
        """The names of the stages asked for."""
        return self._out_features or []

    @out_features.setter
    def out_features(self, out_features: list[str]) -> None:
        self.set_output_features_output_indices(out_features, None)

    @property
    def out_indices(self) -> list[int]:
        """The indices of the stages asked for, as they were given: negative ones count from the end."""
        return self._out_indices or []

    @out_indices.setter
    def out_indices(self, out_indices: Sequence[int]) -> None:
        self.set_output_features_output_indices(None, None if out_indices is None else list(out_indices))

    def to_dict(self) -> dict[str, Any]:
        """What `config.json` says, with the choice of stages in it."""
        parent = getattr(super(), "to_dict", None)
        said = dict(parent() if parent else {k: v for k, v in vars(self).items() if not k.startswith("_")})
        said.pop("_out_features", None)
        said.pop("_out_indices", None)
        return said | {"out_features": self._out_features, "out_indices": self._out_indices}


def check_choice(names: list[str] | None, features: Any, indices: Any) -> list[str]:
    """The stage names, where stages can be chosen from them like this; else StageError, a ValueError."""
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
            raise StageError(f"out_features {features} and out_indices {indices} must mean the same stages.")
    return names


def check_order(what: str, given: Sequence[Any], positions: Sequence[int]) -> None:
    if len(set(positions)) != len(positions):
        raise StageError(f"{what} must not contain any duplicates, got {given}.")
    if list(positions) != sorted(positions):
        ordered = [item for _, item in sorted(zip(positions, given, strict=True))]
        raise StageError(f"{what} must be in the same order as the stages: {ordered}, not {given}.")


@dataclass(kw_only=True)
class BackboneConfig(BackboneConfigMixin):
    """A family's configuration. Keys of a `config.json` that change no feature map are not kept.

    A family gives `num_features` and `strides`, one number a stage, and `grids` where its arithmetic of sizes is
    not a plain division.
    """

    model_type: ClassVar[str]
    # Names that some config.json files use for a field here.
    aliases: ClassVar[Mapping[str, str]] = {}
    # Fields that this code can only honour at these values; any other is refused by name.
    only: ClassVar[Mapping[str, tuple[Any, ...]]] = {}
    # What the numbers are at least, by field.
    least: ClassVar[Mapping[str, int]] = LEAST
    # What a patch that sticks out of the image becomes: padded into one more, or cut off.
    partial_patches: ClassVar[str] = "padded"
    # What the feature maps are, for those who must know whether a norm or a downsampling came first.
    maps_are: ClassVar[str] = "each stage's output, before the next stage's downsampling"

    output_hidden_states: bool = False
    out_features: InitVar[list[str] | None] = None
    out_indices: InitVar[Sequence[int] | None] = None
    # The mixin's, named here so that configs that choose other stages are not equal, and print them.
    _out_features: list[str] | None = field(default=None, init=False, repr=False)
    _out_indices: list[int] | None = field(default=None, init=False)

    def __init_subclass__(cls) -> None:
        describe(cls)

    def __post_init__(self, out_features: list[str] | None, out_indices: Sequence[int] | None) -> None:
        for name, possible in self.only.items():
            if (value := getattr(self, name)) not in possible:
                allowed = " or ".join(repr(v) for v in possible)
                raise UnsupportedModel(f"{self.model_type} with {name}={value!r} is not supported; only {allowed} is.")
        for f in fields(self):
            if not fits(getattr(self, f.name), str(f.type)):
                raise ValueError(f"{f.name}={getattr(self, f.name)!r} should be {f.type}.")
        for name, least in self.least.items():
            value = getattr(self, name, None)
            if not all(least <= number <= MOST for number in numbers(value)):
                raise ValueError(f"{name}={value!r} should lie between {least} and {MOST}.")
        self.check()
        self.set_output_features_output_indices(out_features, out_indices)

    def check(self) -> None:
        """A family's own checks: raise ValueError for values that can't go together."""

    # --- stages ---------------------------------------------------------------------------------------------

    @property
    def stage_names(self) -> list[str]:  # type: ignore[override]  # an attribute there; here it follows from others
        return ["stem", *(f"stage{i}" for i in range(1, len(self.num_features)))]

    @property
    def num_features(self) -> list[int]:
        """Channels of every stage."""
        raise NotImplementedError

    @property
    def strides(self) -> list[int]:
        """Image pixels to one cell of the map, for every stage."""
        raise NotImplementedError

    @property
    def channels(self) -> list[int]:
        """Channels of the stages asked for."""
        return [self.num_features[i] for i in self.wanted]

    @property
    def stages(self) -> list[Stage]:
        facts = zip(self.stage_names, self.num_features, self.strides, strict=True)
        return [Stage(i, *fact) for i, fact in enumerate(facts)]

    @property
    def wanted(self) -> list[int]:
        """The stages asked for as plain ascending indices; the last is where computing stops."""
        return [i % len(self.stage_names) for i in self.out_indices]

    def grids(self, height: int, width: int) -> list[tuple[int, int]]:
        """Rows and columns of every stage's map for an image of this size."""
        rows, cols = pair(getattr(self, "patch_size", 1))  # strides are told down the image; patches may be oblong
        across = [stride // rows * cols for stride in self.strides]
        if self.partial_patches == "padded":
            height, width = -height, -width  # so that what is left over rounds up
        return [(abs(height // s), abs(width // a)) for s, a in zip(self.strides, across, strict=True)]

    def shapes(self, height: int, width: int) -> list[tuple[int, ...]]:
        """(C, H, W) of every stage's map for an image of this size."""
        grids = self.grids(height, width)
        return [(c, h, w) for c, (h, w) in zip(self.num_features, grids, strict=True)]

    def check_room(self, height: int, width: int, stages: Sequence[int] | None = None) -> None:
        """Raise UsageError where an image of this size leaves nothing of a stage: by default, of those asked for."""
        grids = self.grids(height, width)
        for i in self.wanted if stages is None else stages:
            if min(grids[i]) < 1:
                raise UsageError(
                    f"An image of {height}x{width} pixels is too small: nothing of it is left at"
                    f" {self.stage_names[i]}, whose stride is {self.strides[i]}. Use a larger image size."
                )

    def default_size(self) -> tuple[int, int]:
        """The image size the model was made for, where its config tells; else ImageNet's."""
        return pair(getattr(self, "image_size", None) or 224)

    # --- reading and writing --------------------------------------------------------------------------------

    @classmethod
    def from_dict(cls: type[Config], said: Mapping[str, Any], **overrides: Any) -> Config:
        """From what a `config.json` says, of which only what matters here is taken; `overrides` win over it."""
        known = {f.name for f in fields(cls) if f.init} | set(CHOICE)
        overrides = {cls.aliases.get(k, k): v for k, v in overrides.items() if v is not None or k not in CHOICE}
        if unknown := [key for key in overrides if key not in known]:
            raise UsageError(f"{cls.__name__} has no '{unknown[0]}'.{near_miss(unknown[0], known)}")
        chosen = not overrides.keys().isdisjoint(CHOICE)
        values = {cls.aliases.get(k, k): v for k, v in said.items() if not (chosen and k in CHOICE)}
        try:
            return cls(**{key: value for key, value in (values | overrides).items() if key in known})
        except (TypeError, ValueError, AttributeError, LookupError, ArithmeticError) as error:
            if isinstance(error, UnsupportedModel) or (chosen and isinstance(error, StageError)):
                raise
            raise UnsupportedModel(f"This {cls.model_type} config makes no sense: {error}") from error

    def expect(self, height: int, width: int) -> None:
        """All images will be of this size: what has to be built for one size is to be built for it."""

    def to_dict(self) -> dict[str, Any]:
        said = {"model_type": self.model_type} | {f.name: getattr(self, f.name) for f in fields(self) if f.init}
        return said | {
            "stage_names": self.stage_names,
            "out_features": self.out_features,
            "out_indices": self.out_indices,
        }

    @classmethod
    def from_pretrained(cls: type[Config], model: Name, **kwargs: Any) -> Config:
        """The configuration of a model on the hub or in a folder; see `AutoConfig.from_pretrained`."""
        from ..resolve import load_config

        return load_config(model, cls, **kwargs)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write `config.json` into a folder, which is made where it is missing."""
        write_json(folder, "config.json", self.to_dict())


# A dataclass puts a field's default on its class, here on top of the mixin's properties: put them back.
BackboneConfig.out_features = BackboneConfigMixin.out_features  # type: ignore[method-assign]
BackboneConfig.out_indices = BackboneConfigMixin.out_indices  # type: ignore[method-assign]


def fits(value: Any, annotation: str) -> bool:
    """Whether a value read from JSON can be what the annotation says; one that is not plain is let pass."""
    if annotation.endswith(" | None"):
        return value is None or fits(value, annotation.removesuffix(" | None"))
    match annotation:
        case "int":
            return isinstance(value, int) and not isinstance(value, bool)
        case "float":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "bool" | "str":
            return type(value).__name__ == annotation
        case "Size":
            return fits(value, "int") or (fits(value, "Sequence[int]") and len(value) == 2)
        case "Sequence[int]" | "Sequence[float]" | "Sequence[str]" | "Sequence[bool]" | "Sequence[Size]":
            inner = annotation[len("Sequence[") : -1]
            return isinstance(value, list | tuple) and all(fits(item, inner) for item in value)
    return True


def numbers(value: Any) -> Iterator[float]:
    """A field's numbers: itself, or those that it lists; of a field that is None, none."""
    if isinstance(value, list | tuple):
        for item in value:
            yield from numbers(item)
    elif value is not None:
        yield value


def describe(cls: type) -> None:
    """Let a family's class that says nothing of itself be described, in `help()`, by what its file says."""
    cls.__doc__ = cls.__dict__.get("__doc__") or getattr(sys.modules.get(cls.__module__), "__doc__", None)


def pair(size: Size) -> tuple[int, int]:
    """`224` -> (224, 224), `[480, 640]` -> (480, 640)."""
    height, width = (size, size) if isinstance(size, int) else size
    return int(height), int(width)


def doubling(first: int, count: int) -> list[int]:
    """`first`, then twice as much at every step: the widths and strides of most pyramids."""
    return [first * 2**i for i in range(count)]


def same_length(**lists: Iterable[Any]) -> None:
    """Raise ValueError where lists that hold a value a stage differ in length."""
    lengths = {name: len(list(values)) for name, values in lists.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(", ".join(f"{name} has {n} values" for name, n in lengths.items()) + ".")


def enough(count: int, **lists: Sequence[Any]) -> None:
    """Raise ValueError where a list has no value for each of `count` stages; more than that does no harm."""
    for name, values in lists.items():
        if len(values) < count:
            raise ValueError(f"{name} has {len(values)} values for {count} stages.")
