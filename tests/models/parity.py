"""The harness that holds every family against transformers.

A family's row (`tests/models/cases/<model_type>.py`) says which configs to try, which classes save checkpoints of it,
and the image sizes; everything else is the same for all. Nothing in the oracle is left at 0 or 1 or at a tiny layer
scale, since a tensor at rest proves nothing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from backbone_cli import registry
from backbone_cli.auto import AutoBackbone
from backbone_cli.models.base import Backbone

TOLERANCE = 1e-4  # of a stage's standard deviation, float32


@dataclass(frozen=True)
class Case:
    """One family's row."""

    model_type: str
    small: Mapping[str, Any]
    """A config that runs in milliseconds; the others are told as differences from it."""
    configs: Mapping[str, Mapping[str, Any]]
    """Name -> what differs. Between them they exercise every switch that changes a feature map."""
    saved_by: tuple[str, ...] = ()
    """transformers classes, besides the backbone class, whose `save_pretrained` makes checkpoints of the family."""
    sizes: tuple[tuple[int, int], ...] = ((64, 64), (97, 131), (33, 50))
    full: Mapping[str, Any] = field(default_factory=dict)
    """The published full-size layout, tried at its own size; by default the family's defaults."""
    full_size: tuple[int, int] = (224, 224)
    oracle: Callable[[dict[str, Any]], nn.Module] | None = None
    """Builds the oracle from a config, where transformers' own class can't be used as it is."""
    classes: Mapping[str, type] = field(default_factory=dict)
    """Oracle classes by name, where transformers has no such class or has it wrong."""
    stage_count: Callable[[Any], int] | None = None
    inert: tuple[str, ...] = ()
    """Tensors of ours that no stage can show, by the end of their names, each with its reason beside it."""

    @property
    def stem(self) -> str:
        return registry.find_family(self.model_type).stem

    def oracle_class(self, name: str) -> Any:
        return self.classes.get(name) or getattr(transformers, name)

    def config(self, name: str) -> dict[str, Any]:
        return {**self.small, **self.configs[name]}

    def build(self, said: Mapping[str, Any], cls: str | None = None) -> nn.Module:
        """The oracle of this config, every stage asked for, with drawn weights."""
        config_class = self.oracle_class(f"{self.stem}Config")
        count = len(config_class(**said).stage_names)
        said = {**said, "out_indices": list(range(count))}
        torch.manual_seed(0)
        if self.oracle is not None and cls is None:
            model = self.oracle(said)
        else:
            model = self.oracle_class(cls or f"{self.stem}Backbone")(config_class(**said))
        return drawn(model.eval())


def drawn(model: nn.Module) -> nn.Module:
    """Draw all parameters and running statistics anew, but not the tables that follow from sizes."""
    generator = torch.Generator().manual_seed(1)
    saved = model.state_dict().keys()
    with torch.no_grad():
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            if name in saved and tensor.is_floating_point():
                tensor.copy_(draw_like(name, tensor, generator))
    return model


def draw_like(name: str, tensor: Tensor, generator: torch.Generator) -> Tensor:
    if tensor.ndim > 1:
        fan_in = max(2, tensor.numel() // tensor.shape[0])
        return torch.randn(tensor.shape, generator=generator) / math.sqrt(fan_in)
    if name.endswith(("bias", "running_mean")):
        return torch.randn(tensor.shape, generator=generator) * 0.3
    return torch.rand(tensor.shape, generator=generator) + 0.5


def pixels(size: tuple[int, int], batch: int = 2, channels: int = 3) -> Tensor:
    return torch.randn(batch, channels, *size, generator=torch.Generator().manual_seed(2))


def maps_of(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
    with torch.no_grad():
        output = model(x)
    return dict(zip(model.out_features, output.feature_maps, strict=True))


def assert_same_maps(ours: Backbone, oracle: nn.Module, x: Tensor, tolerance: float = TOLERANCE) -> None:
    """Every stage equal to the oracle's; where float32 itself is too coarse to tell, float64 must agree."""
    got, requested = maps_of(ours, x), maps_of(oracle, x)
    assert list(got) == list(requested)
    worst = {name: distance(got[name], requested[name]) for name in requested}
    if max(worst.values()) > tolerance:
        precise = maps_of(ours.double(), x.double()), maps_of(oracle.double(), x.double())
        ours.float(), oracle.float()
        in_double = {name: distance(*(maps[name] for maps in precise)) for name in requested}
        assert max(in_double.values()) < tolerance / 100 and max(worst.values()) < 10 * tolerance, (
            worst,
            in_double,
        )


def distance(got: Tensor, requested: Tensor) -> float:
    """The largest difference, in standard deviations of what was wanted."""
    assert got.shape == requested.shape, (tuple(got.shape), tuple(requested.shape))
    assert torch.isfinite(requested).all()
    return ((got - requested).abs().max() / requested.std()).item()


# --- checkpoints as hub repositories hold them ------------------------------------------------------------------


def save(model: nn.Module, folder: Path, said: Mapping[str, Any] | None = None) -> Path:
    """What `save_pretrained` leaves: config.json and one model.safetensors."""
    model.save_pretrained(folder)
    return folder


def halves(tensors: dict[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    names = sorted(tensors)
    middle = len(names) // 2
    for part in (names[:middle], names[middle:]):
        yield {name: tensors[name] for name in part}


def rewrite(folder: Path, form: str) -> None:
    """Turn a folder with one model.safetensors into another form that repositories have."""
    single = folder / "model.safetensors"
    tensors = load_file(single)
    if form in ("float16", "bfloat16"):
        save_file({k: v.to(getattr(torch, form)) for k, v in tensors.items()}, single)
        return
    if form == "safetensors":
        return
    single.unlink()
    if form == "bin":
        torch.save(tensors, folder / "pytorch_model.bin")
        return
    assert form in ("sharded", "sharded bin")
    ending, write = ("safetensors", save_file) if form == "sharded" else ("bin", torch.save)
    stem = "model" if form == "sharded" else "pytorch_model"
    where = {}
    for i, part in enumerate(halves(tensors), 1):
        shard = f"{stem}-0000{i}-of-00002.{ending}"
        write(part, folder / shard)
        where |= dict.fromkeys(part, shard)
    (folder / f"{stem}.{ending}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))


FORMS = ("safetensors", "sharded", "bin", "sharded bin", "float16", "bfloat16")


def load_ours(folder: Path, oracle: nn.Module) -> Backbone:
    return AutoBackbone.from_pretrained(str(folder), out_indices=list(range(len(oracle.stage_names))))


def load_oracle(case: Case, folder: Path) -> nn.Module:
    cls = case.oracle_class(f"{case.stem}Backbone")
    config = case.oracle_class(f"{case.stem}Config").from_pretrained(folder)
    config.out_indices = list(range(len(config.stage_names)))
    return cls.from_pretrained(folder, config=config, dtype=torch.float32).eval()
