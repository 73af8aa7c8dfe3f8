"""The front door for Python: from a model's name to its configuration, its backbone, its image processor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .configs.base import BackboneConfig
from .registry import find
from .resolve import Resolved, resolve

if TYPE_CHECKING:
    import torch

    from .models.base import Backbone


class AutoConfig:
    """The configuration of any model that has a backbone."""

    @classmethod
    def from_pretrained(
        cls, model: str, *, revision: str | None = None, offline: bool = False, **overrides: Any
    ) -> BackboneConfig:
        """Read `config.json` of a hub id or folder; `overrides` (`out_indices=...`) win over what it says."""
        return resolve(model, revision=revision, offline=offline, **overrides).config


class AutoBackbone:
    """The backbone of any model, ready to run."""

    @classmethod
    def from_pretrained(
        cls,
        model: str,
        *,
        out_indices: Sequence[int] | None = None,
        out_features: list[str] | None = None,
        revision: str | None = None,
        offline: bool = False,
        dtype: torch.dtype | str | None = None,
        device: torch.device | str | None = None,
    ) -> Backbone:
        """Load the backbone of a hub id or folder, as far as the last stage asked for."""
        stages = {"out_indices": out_indices, "out_features": out_features}
        found = resolve(model, revision=revision, offline=offline, **{k: v for k, v in stages.items() if v is not None})
        return load(found, dtype, device)

    @classmethod
    def from_config(cls, config: BackboneConfig, *, seed: int = 0) -> Backbone:
        """Build the backbone of a configuration, with random weights."""
        from .checkpoint import draw

        backbone = build(config)
        draw(backbone, seed)
        return backbone


def load(found: Resolved, dtype: torch.dtype | str | None = None, device: torch.device | str | None = None) -> Backbone:
    """The backbone of a model that was found, with its weights, for inference."""
    from .checkpoint import Weights, fill

    backbone = build(found.config)
    fill(backbone, Weights(found.repo, found.prefixes))
    return place(backbone, dtype, device)


def build(config: BackboneConfig) -> Backbone:
    """The modules, with tensors that have shapes but no values yet."""
    import torch

    with torch.device("meta"):
        return find(config.model_type).model_class()(config).eval()


def place(
    backbone: Backbone, dtype: torch.dtype | str | None = None, device: torch.device | str | None = None
) -> Backbone:
    """On a device, in a dtype."""
    import torch

    return backbone.to(device=device, dtype=getattr(torch, dtype) if isinstance(dtype, str) else dtype)
