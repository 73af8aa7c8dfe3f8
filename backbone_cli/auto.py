"""The Python entry points: from a model's name to its configuration, backbone and image processor."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

from .configs.base import BackboneConfig
from .errors import BackboneError, UnsupportedModel, UsageError, first_line
from .hub import ModelName
from .registry import find_family
from .resolve import Resolved, resolve
from .timm.config import TimmBackboneConfig

if TYPE_CHECKING:
    import torch

    from .images.processor import ImageProcessor
    from .maskformer.config import MaskFormerConfig
    from .models.base import Backbone, Model

M = TypeVar("M", bound="Model")


class AutoConfig:
    """The configuration of any supported model."""

    @classmethod
    def from_pretrained(
        cls,
        model: ModelName,
        *,
        revision: str | None = None,
        offline: bool = False,
        local_files_only: bool = False,
        **overrides: Any,
    ) -> BackboneConfig:
        """Read the `config.json` of a Hub id or folder.

        Any field of the configuration can be given as a keyword (`out_indices=[0, 1]`, `image_size=384`) and wins over
        the file.
        """
        return resolve(model, revision=revision, offline=offline or local_files_only, **overrides).config


class AutoImageProcessor:
    """The image processor of any supported model."""

    @classmethod
    def from_pretrained(
        cls,
        model: ModelName,
        *,
        revision: str | None = None,
        offline: bool = False,
        local_files_only: bool = False,
        **overrides: Any,
    ) -> ImageProcessor:
        """Read the `preprocessor_config.json` of a Hub id or folder; settings given here (`size=384`) win over it.

        Without such a file, the result is the processor that the model's family usually has, with a warning. A
        MaskFormer's processor also has its post-processing methods (`post_process_semantic_segmentation`, ...).
        """
        resolved = resolve(model, revision=revision, offline=offline or local_files_only)
        if resolved.composite_type == "maskformer":
            from .maskformer.processor import load_processor
        else:
            from .images.load import load_processor

        processor = load_processor(resolved)
        return processor.with_settings(**overrides) if overrides else processor


class AutoBackbone:
    """The backbone of any supported model, ready to run."""

    @classmethod
    def from_pretrained(
        cls,
        model: ModelName,
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
        """Load the backbone of a Hub id, a folder or a timm name, up to the last requested stage.

        `out_indices` or `out_features` choose the stages (by default the last). `config` replaces the model's own;
        single fields can be given as keywords, or together as `backbone_kwargs`.
        `offline` (or `local_files_only`) never uses the network. The weights are float32 unless `dtype` (or
        `torch_dtype`) says otherwise; "auto" is the dtype in config.json.
        `use_timm_backbone=True` reads the name as timm's, False as a Hub id; by default the name itself decides.
        `use_pretrained_backbone=False` loads no weights: they are initialized randomly from `seed`.

        The model is in evaluation mode; call `.train()` to fine-tune it.
        """
        overrides = {**(backbone_kwargs or {}), **overrides}
        if out_indices is not None:
            overrides["out_indices"] = out_indices
        if out_features is not None:
            overrides["out_features"] = out_features
        offline = offline or local_files_only
        resolved = resolve(model, revision=revision, offline=offline, timm=use_timm_backbone, **overrides)
        if config is not None:
            resolved = replace(resolved, config=type(config).from_dict(config.to_dict(), **overrides))
        dtype = torch_dtype if dtype is None else dtype
        if dtype == "auto":
            dtype = checkpoint_dtype(resolved)
        if use_pretrained_backbone:
            return load_backbone(resolved, dtype, device)
        return to_device(random_backbone(resolved.config, seed), dtype, device)

    @classmethod
    def from_config(cls, config: BackboneConfig | MaskFormerConfig, *, seed: int = 0) -> Backbone:
        """Build the backbone of a configuration with random weights: the same ones for the same seed.

        A timm configuration with `use_pretrained_backbone` gets timm's weights instead. The configuration of a whole
        model (`MaskFormerConfig`) stands for its backbone.
        """
        config = cast("BackboneConfig", getattr(config, "backbone_config", config))
        if isinstance(config, TimmBackboneConfig) and config.use_pretrained_backbone:
            from .timm.backbone import timm_weights

            return build_filled(config, timm_weights(config))
        return random_backbone(config, seed)


def random_backbone(config: BackboneConfig, seed: int = 0) -> Backbone:
    """The backbone of a configuration with random weights."""
    from .checkpoint import init_randomly

    return build_filled(config, partial(init_randomly, seed=seed))


def load_backbone(
    resolved: Resolved, dtype: torch.dtype | str | None = None, device: torch.device | str | None = None
) -> Backbone:
    """The backbone of a resolved model with its weights, for inference."""
    from .checkpoint import Checkpoint, load_weights

    return to_device(
        build_filled(resolved.config, partial(load_weights, weights=Checkpoint(resolved.repo, resolved.prefixes))),
        dtype,
        device,
    )


def build_filled(config: BackboneConfig, weight_source: Callable[[Backbone], None]) -> Backbone:
    """The backbone of a configuration, with weights from a source that also serves stages added later."""
    backbone = build_backbone(config)
    backbone.weight_source = weight_source
    weight_source(backbone)
    return backbone


def build_backbone(config: BackboneConfig) -> Backbone:
    """The modules, on the meta device: tensors with shapes but no values yet."""
    import torch

    model_class = find_family(
        config.model_type
    ).model_class()  # imported outside the meta device, which is not for its constants
    try:
        with torch.device("meta"):
            return model_class(config).eval()
    except BackboneError:
        raise
    except (TypeError, ValueError, RuntimeError, ArithmeticError, IndexError) as error:
        raise UnsupportedModel(f"This {config.model_type} config can't be built: {first_line(error)}") from error


def to_device(model: M, dtype: torch.dtype | str | None = None, device: torch.device | str | None = None) -> M:
    """Move a model to a device and a dtype."""
    import torch

    if isinstance(dtype, str) and not isinstance(getattr(torch, dtype, None), torch.dtype):
        raise UsageError(f"'{dtype}' is not a dtype; use float32, bfloat16 or float16.")
    return model.to(device=device, dtype=getattr(torch, dtype) if isinstance(dtype, str) else dtype)


def checkpoint_dtype(resolved: Resolved) -> str:
    """The dtype in config.json, which the weights were saved in."""
    raw_config = resolved.repo.json("config.json") or {}
    return str(raw_config.get("dtype") or raw_config.get("torch_dtype") or "float32")
