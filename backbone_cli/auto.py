"""The front door for Python: from a model's name to its configuration, its backbone, its image processor."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

from .configs.base import BackboneConfig
from .configs.timm_backbone import TimmBackboneConfig
from .errors import BackboneError, UnsupportedModel, UsageError, first_line
from .hub import Name
from .registry import find
from .resolve import Resolved, resolve

if TYPE_CHECKING:
    import torch

    from .configs.maskformer import MaskFormerConfig
    from .images.processor import ImageProcessor
    from .models.base import Backbone, Model

M = TypeVar("M", bound="Model")


class AutoConfig:
    """The configuration of any model that has a backbone."""

    @classmethod
    def from_pretrained(
        cls,
        model: Name,
        *,
        revision: str | None = None,
        offline: bool = False,
        local_files_only: bool = False,
        **overrides: Any,
    ) -> BackboneConfig:
        """Read `config.json` of a hub id or folder.

        Any field of the configuration can be given as a keyword (`out_indices=[0, 1]`, `image_size=384`) and wins over
        what the file says.
        """
        return resolve(model, revision=revision, offline=offline or local_files_only, **overrides).config


class AutoImageProcessor:
    """The image processor of any model that has a backbone."""

    @classmethod
    def from_pretrained(
        cls,
        model: Name,
        *,
        revision: str | None = None,
        offline: bool = False,
        local_files_only: bool = False,
        **overrides: Any,
    ) -> ImageProcessor:
        """Read `preprocessor_config.json` of a hub id or folder; settings given here (`size=384`) win over it.

        Where there is no such file, it is the processor that the model's family is known to use, with a warning.
        A MaskFormer's has its three ways to read segments (`post_process_semantic_segmentation`, ...) as well.
        """
        found = resolve(model, revision=revision, offline=offline or local_files_only)
        if found.inside == "maskformer":
            from .heads.segmentation import load_processor
        else:
            from .images.processor import load_processor

        processor = load_processor(found)
        return processor.changed(**overrides) if overrides else processor


class AutoBackbone:
    """The backbone of any model, ready to run."""

    @classmethod
    def from_pretrained(
        cls,
        model: Name,
        *,
        config: BackboneConfig | None = None,
        out_indices: Sequence[int] | None = None,
        out_features: list[str] | None = None,
        revision: str | None = None,
        offline: bool = False,
        local_files_only: bool = False,
        dtype: torch.dtype | str | None = None,
        torch_dtype: torch.dtype | str | None = None,
        device: torch.device | str | None = None,
        use_timm_backbone: bool | None = None,
        use_pretrained_backbone: bool = True,
        backbone_kwargs: Mapping[str, Any] | None = None,
        seed: int = 0,
        **overrides: Any,
    ) -> Backbone:
        """Load the backbone of a hub id, a folder or a timm name, as far as the last stage asked for.

        `out_indices` or `out_features` choose the stages (the last, by default). `config` takes the place of the
        model's own; single fields of it are given as keywords, or together as `backbone_kwargs`.
        `offline` (`local_files_only` is the same) never touches the network. The weights are float32 unless
        `dtype` (or `torch_dtype`) says otherwise; "auto" is what config.json says they were saved in.
        `use_timm_backbone=True` takes the name for timm's, False for the hub's; by default the name tells.
        `use_pretrained_backbone=False` loads no weights: they are drawn from `seed`.

        The model comes in evaluation mode; call `.train()` to fine-tune it.
        """
        overrides = {**(backbone_kwargs or {}), **overrides}
        if out_indices is not None:
            overrides["out_indices"] = out_indices
        if out_features is not None:
            overrides["out_features"] = out_features
        offline = offline or local_files_only
        found = resolve(model, revision=revision, offline=offline, timm=use_timm_backbone, **overrides)
        if config is not None:
            found = replace(found, config=type(config).from_dict(config.to_dict(), **overrides))
        dtype = torch_dtype if dtype is None else dtype
        if dtype == "auto":
            dtype = saved_dtype(found)
        if use_pretrained_backbone:
            return load(found, dtype, device)
        return place(random(found.config, seed), dtype, device)

    @classmethod
    def from_config(cls, config: BackboneConfig | MaskFormerConfig, *, seed: int = 0) -> Backbone:
        """Build the backbone of a configuration, with random weights: the same ones for the same seed.

        One of a timm model gets timm's weights instead where it says `use_pretrained_backbone`. The configuration of
        a whole model (`MaskFormerConfig`) means its backbone.
        """
        config = cast("BackboneConfig", getattr(config, "backbone_config", config))
        if isinstance(config, TimmBackboneConfig) and config.use_pretrained_backbone:
            from .models.timm_backbone import published

            return filled(config, published(config))
        return random(config, seed)


def random(config: BackboneConfig, seed: int = 0) -> Backbone:
    """The backbone of a configuration, with random weights."""
    from .checkpoint import draw

    return filled(config, partial(draw, seed=seed))


def load(found: Resolved, dtype: torch.dtype | str | None = None, device: torch.device | str | None = None) -> Backbone:
    """The backbone of a model that was found, with its weights, for inference."""
    from .checkpoint import Weights, fill

    return place(filled(found.config, partial(fill, weights=Weights(found.repo, found.prefixes))), dtype, device)


def filled(config: BackboneConfig, origin: Callable[[Backbone], None]) -> Backbone:
    """The backbone of a configuration, with values from where it will also take those that it needs later."""
    backbone = build(config)
    backbone.origin = origin
    origin(backbone)
    return backbone


def build(config: BackboneConfig) -> Backbone:
    """The modules, with tensors that have shapes but no values yet."""
    import torch

    model_class = find(config.model_type).model_class()  # what it imports is not meant to be without values
    try:
        with torch.device("meta"):
            return model_class(config).eval()
    except BackboneError:
        raise
    except (TypeError, ValueError, RuntimeError, ArithmeticError, IndexError) as error:
        raise UnsupportedModel(
            f"No network can be built from this {config.model_type} config: {first_line(error)}"
        ) from error


def place(model: M, dtype: torch.dtype | str | None = None, device: torch.device | str | None = None) -> M:
    """On a device, in a dtype."""
    import torch

    if isinstance(dtype, str) and not isinstance(getattr(torch, dtype, None), torch.dtype):
        raise UsageError(f"'{dtype}' is no dtype; use float32, bfloat16 or float16.")
    return model.to(device=device, dtype=getattr(torch, dtype) if isinstance(dtype, str) else dtype)


def saved_dtype(found: Resolved) -> str:
    """The dtype that config.json says the weights were saved in."""
    said = found.repo.json("config.json") or {}
    return str(said.get("dtype") or said.get("torch_dtype") or "float32")
