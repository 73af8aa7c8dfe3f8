"""MaskFormer: a backbone, a pixel decoder and a transformer decoder, each with its own configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import InitVar, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

from ..configs.base import BackboneConfig
from ..errors import UnsupportedModel, UsageError, did_you_mean
from ..hub import ModelName, open_repo, write_json


@dataclass(kw_only=True)
class DetrDecoderConfig:
    """The transformer decoder of a DETR; a DETR's other settings are not kept."""

    model_type: ClassVar[str] = "detr"

    d_model: int = 256
    decoder_layers: int = 6
    decoder_attention_heads: int = 8
    decoder_ffn_dim: int = 2048
    num_queries: int = 100
    activation_function: str = "relu"

    @classmethod
    def from_dict(cls, raw_config: Mapping[str, Any]) -> DetrDecoderConfig:
        if raw_config.get("model_type", "detr") != "detr" or raw_config.get("auxiliary_loss"):
            raise UnsupportedModel(
                "A MaskFormer's decoder must be a 'detr' without auxiliary_loss; no other is supported."
            )
        names = {"hidden_size": "d_model"}
        known = {f.name for f in fields(cls)}
        values = {names.get(key, key): value for key, value in raw_config.items()}
        return cls(**{key: value for key, value in values.items() if key in known})

    def to_dict(self) -> dict[str, Any]:
        return {"model_type": self.model_type} | {f.name: getattr(self, f.name) for f in fields(self)}


@dataclass(kw_only=True)
class MaskFormerConfig:
    """A MaskFormer's configuration.

    The backbone is given in one of two ways: as `backbone_config`, a configuration or its dict, with random weights; or
    as `backbone`, a name, with `use_pretrained_backbone=True` for that model's weights, `use_timm_backbone` if the name
    doesn't tell whether it is timm's, and `backbone_kwargs` for its options. The default is the Swin of
    `facebook/maskformer-swin-base-ade`.

    Masks are made from several maps: if only one stage of the backbone is requested, its last four are used.
    """

    model_type: ClassVar[str] = "maskformer"

    # None only until __post_init__ fills in the published ones.
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
    # Only used in training; kept so that the file stays complete.
    no_object_weight: float = 0.1
    dice_weight: float = 1.0
    cross_entropy_weight: float = 1.0
    mask_weight: float = 20.0
    init_std: float = 0.02
    init_xavier_std: float = 1.0
    use_auxiliary_loss: bool = False
    output_auxiliary_logits: bool | None = None
    # Whether to read the model that `backbone` names without the network.
    offline: InitVar[bool] = False

    def __post_init__(self, offline: bool) -> None:
        if self.backbone_config is not None and self.backbone is not None:
            raise UsageError("Give a MaskFormer's backbone as backbone or as backbone_config, not both.")
        if self.use_pretrained_backbone and self.backbone is None:
            raise UsageError("use_pretrained_backbone needs the name of a model; give backbone='...'.")
        decoder: Any = self.decoder_config
        if not isinstance(decoder, DetrDecoderConfig):
            self.decoder_config = DetrDecoderConfig.from_dict(decoder or {})
        self.backbone_config = self.backbone_from(self.raw_backbone_config(offline))
        labels = {int(i): name for i, name in (self.id2label or {0: "LABEL_0", 1: "LABEL_1"}).items()}
        if self.num_labels not in (None, len(labels)):
            labels = {i: f"LABEL_{i}" for i in range(self.num_labels or 0)}
        self.id2label, self.num_labels = labels, len(labels)

    def raw_backbone_config(self, offline: bool) -> dict[str, Any]:
        """The backbone's raw config."""
        from .. import composites
        from ..resolve import read_config

        row = composites.find_composite(self.model_type)
        assert row is not None
        given = self.backbone_config
        raw_config = {
            "backbone_config": given.to_dict() if isinstance(given, BackboneConfig) else given,
            "backbone": self.backbone,
        } | ({} if self.use_timm_backbone is None else {"use_timm_backbone": self.use_timm_backbone})
        raw_backbone = dict(row.find(raw_config, lambda name: read_config(open_repo(name, offline=offline))))
        return raw_backbone | {"model_type": row.built_as.get(raw_backbone["model_type"], raw_backbone["model_type"])}

    def backbone_from(self, raw_backbone: dict[str, Any]) -> BackboneConfig:
        """The backbone's configuration, with several stages requested."""
        from ..registry import find_family

        config = (
            find_family(raw_backbone["model_type"])
            .config_class()
            .from_dict(raw_backbone, **(self.backbone_kwargs or {}))
        )
        if len(config.out_indices) < 2:
            config.out_indices = list(range(len(config.stage_names)))[-4:]
        return config

    @classmethod
    def from_dict(cls, raw_config: Mapping[str, Any], *, offline: bool = False, **overrides: Any) -> MaskFormerConfig:
        """From the contents of a `config.json`; `overrides` win over it."""
        known = {f.name for f in fields(cls)}
        if unknown := [key for key in overrides if key not in known]:
            raise UsageError(f"{cls.__name__} has no '{unknown[0]}'.{did_you_mean(unknown[0], known)}")
        # The weights are this model's own, whatever it was initialized from.
        raw_config = {k: v for k, v in raw_config.items() if k in known and k != "use_pretrained_backbone"}
        if raw_config.get("backbone_config") is not None:
            raw_config |= dict.fromkeys(("backbone", "backbone_kwargs", "use_timm_backbone"))
        return cls(**(raw_config | overrides), offline=offline)

    def to_dict(self) -> dict[str, Any]:
        """The contents of `config.json`: the backbone's full configuration, not the name it came from."""
        raw_config = {"model_type": self.model_type} | {f.name: getattr(self, f.name) for f in fields(self)}
        for key in ("backbone", "use_pretrained_backbone", "use_timm_backbone", "backbone_kwargs", "num_labels"):
            del raw_config[key]
        parts = {key: raw_config[key].to_dict() for key in ("backbone_config", "decoder_config")}
        return raw_config | parts | {"label2id": {name: i for i, name in (self.id2label or {}).items()}}

    @classmethod
    def from_pretrained(
        cls, model: ModelName, *, revision: str | None = None, offline: bool = False, **overrides: Any
    ) -> MaskFormerConfig:
        """The configuration of a MaskFormer on the Hub or in a folder; `overrides` win over it."""
        from ..resolve import read_config

        raw_config = read_config(open_repo(model, revision, offline))
        if raw_config["model_type"] != cls.model_type:
            raise UsageError(f"'{model}' is a {raw_config['model_type']} model, not a {cls.model_type}.")
        return cls.from_dict(raw_config, offline=offline, **overrides)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write `config.json` into a folder, creating it if needed."""
        write_json(folder, "config.json", self.to_dict())
