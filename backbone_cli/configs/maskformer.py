"""MaskFormer: a backbone, a pixel decoder and a transformer decoder, each with its own configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import InitVar, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

from ..errors import UnsupportedModel, UsageError, near_miss
from ..hub import Name, open_repo, write_json
from .base import BackboneConfig


@dataclass(kw_only=True)
class DetrDecoderConfig:
    """The transformer decoder of a DETR; what a DETR has besides is not kept."""

    model_type: ClassVar[str] = "detr"

    d_model: int = 256
    decoder_layers: int = 6
    decoder_attention_heads: int = 8
    decoder_ffn_dim: int = 2048
    num_queries: int = 100
    activation_function: str = "relu"

    @classmethod
    def from_dict(cls, said: Mapping[str, Any]) -> DetrDecoderConfig:
        if said.get("model_type", "detr") != "detr" or said.get("auxiliary_loss"):
            raise UnsupportedModel("The decoder of a MaskFormer is a 'detr' without auxiliary_loss; no other is known.")
        names = {"hidden_size": "d_model"}
        known = {f.name for f in fields(cls)}
        values = {names.get(key, key): value for key, value in said.items()}
        return cls(**{key: value for key, value in values.items() if key in known})

    def to_dict(self) -> dict[str, Any]:
        return {"model_type": self.model_type} | {f.name: getattr(self, f.name) for f in fields(self)}


@dataclass(kw_only=True)
class MaskFormerConfig:
    """A MaskFormer's configuration.

    Its backbone is said in one of two ways: `backbone_config`, a configuration (or what its `to_dict` gives), with
    weights that are random; or `backbone`, a name, with `use_pretrained_backbone=True` for that model's weights,
    `use_timm_backbone` where the name doesn't tell whether it is timm's, and `backbone_kwargs` for its options.
    By default it is the Swin of `facebook/maskformer-swin-base-ade`.

    The masks are made from several maps: a backbone that is asked for one stage alone is asked for its last four.
    """

    model_type: ClassVar[str] = "maskformer"

    # None only until __post_init__ has put the published ones in their places.
    backbone_config: BackboneConfig = None  # type: ignore[assignment]
    backbone: str | None = None
    use_pretrained_backbone: bool = False
    use_timm_backbone: bool | None = None
    backbone_kwargs: Mapping[str, Any] | None = None
    decoder_config: DetrDecoderConfig = None  # type: ignore[assignment]
    fpn_feature_size: int = 256
    mask_feature_size: int = 256
    num_labels: int | None = None
    id2label: Mapping[int, str] | None = None
    output_hidden_states: bool = False
    # Of use in training alone, which is not done here; kept for those who read the file.
    no_object_weight: float = 0.1
    dice_weight: float = 1.0
    cross_entropy_weight: float = 1.0
    mask_weight: float = 20.0
    init_std: float = 0.02
    init_xavier_std: float = 1.0
    use_auxiliary_loss: bool = False
    output_auxiliary_logits: bool | None = None
    # Whether what `backbone` names is to be read without the network.
    offline: InitVar[bool] = False

    def __post_init__(self, offline: bool) -> None:
        if self.backbone_config is not None and self.backbone is not None:
            raise UsageError("A MaskFormer's backbone is given as backbone or as backbone_config, not as both.")
        if self.use_pretrained_backbone and self.backbone is None:
            raise UsageError("use_pretrained_backbone needs the name of a model; give backbone='...'.")
        decoder: Any = self.decoder_config
        if not isinstance(decoder, DetrDecoderConfig):
            self.decoder_config = DetrDecoderConfig.from_dict(decoder or {})
        self.backbone_config = self.pyramid(self.inner(offline))
        labels = {int(i): name for i, name in (self.id2label or {0: "LABEL_0", 1: "LABEL_1"}).items()}
        if self.num_labels not in (None, len(labels)):
            labels = {i: f"LABEL_{i}" for i in range(self.num_labels or 0)}
        self.id2label, self.num_labels = labels, len(labels)

    def inner(self, offline: bool) -> dict[str, Any]:
        """What the backbone's config.json says."""
        from .. import composites
        from ..resolve import read_config

        row = composites.find(self.model_type)
        assert row is not None
        given = self.backbone_config
        said = {
            "backbone_config": given.to_dict() if isinstance(given, BackboneConfig) else given,
            "backbone": self.backbone,
        } | ({} if self.use_timm_backbone is None else {"use_timm_backbone": self.use_timm_backbone})
        inner = dict(row.find(said, lambda name: read_config(open_repo(name, offline=offline))))
        return inner | {"model_type": row.becomes.get(inner["model_type"], inner["model_type"])}

    def pyramid(self, inner: dict[str, Any]) -> BackboneConfig:
        """The backbone's configuration, asked for several stages."""
        from ..registry import find

        config = find(inner["model_type"]).config_class().from_dict(inner, **(self.backbone_kwargs or {}))
        if len(config.out_indices) < 2:
            config.out_indices = list(range(len(config.stage_names)))[-4:]
        return config

    @classmethod
    def from_dict(cls, said: Mapping[str, Any], *, offline: bool = False, **overrides: Any) -> MaskFormerConfig:
        """From what a `config.json` says; `overrides` win over it."""
        known = {f.name for f in fields(cls)}
        if unknown := [key for key in overrides if key not in known]:
            raise UsageError(f"{cls.__name__} has no '{unknown[0]}'.{near_miss(unknown[0], known)}")
        # The weights are those of the file's own model, whatever that started from.
        said = {k: v for k, v in said.items() if k in known and k != "use_pretrained_backbone"}
        if said.get("backbone_config") is not None:
            said |= dict.fromkeys(("backbone", "backbone_kwargs", "use_timm_backbone"))
        return cls(**(said | overrides), offline=offline)

    def to_dict(self) -> dict[str, Any]:
        """What `config.json` says: the backbone's configuration in full, and not the name it came from."""
        said = {"model_type": self.model_type} | {f.name: getattr(self, f.name) for f in fields(self)}
        for key in ("backbone", "use_pretrained_backbone", "use_timm_backbone", "backbone_kwargs", "num_labels"):
            del said[key]
        parts = {key: said[key].to_dict() for key in ("backbone_config", "decoder_config")}
        return said | parts | {"label2id": {name: i for i, name in (self.id2label or {}).items()}}

    @classmethod
    def from_pretrained(
        cls, model: Name, *, revision: str | None = None, offline: bool = False, **overrides: Any
    ) -> MaskFormerConfig:
        """The configuration of a MaskFormer on the hub or in a folder; `overrides` win over what it says."""
        from ..resolve import read_config

        said = read_config(open_repo(model, revision, offline))
        if said["model_type"] != cls.model_type:
            raise UsageError(f"'{model}' is a {said['model_type']} model, not a {cls.model_type}.")
        return cls.from_dict(said, offline=offline, **overrides)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write `config.json` into a folder, which is made where it is missing."""
        write_json(folder, "config.json", self.to_dict())
