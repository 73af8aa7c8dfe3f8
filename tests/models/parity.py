"""The harness that compares every family with transformers, the oracle.

A family's case (`tests/models/cases/<model_type>.py`) lists the configs to try, the classes that save its checkpoints
and the image sizes; everything else is the same for all families. No tensor of the oracle keeps its initial 0, 1 or
tiny layer scale, because such a tensor could be ignored unnoticed.
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

TOLERANCE = 1e-4  # in standard deviations of a stage's map, for float32


@dataclass(frozen=True)
class Case:
    """One family's case."""

    model_type: str
    small: Mapping[str, Any]
    """A config that runs in milliseconds; the others are given as changes to it."""
    configs: Mapping[str, Mapping[str, Any]]
    """Name -> changes. Together they exercise every option that changes a feature map."""
    saved_by: tuple[str, ...] = ()
    """transformers classes, besides the backbone class, whose `save_pretrained` writes checkpoints of the family."""
    sizes: tuple[tuple[int, int], ...] = ((64, 64), (97, 131), (33, 50))
    full: Mapping[str, Any] = field(default_factory=dict)
    """Changes to the config's defaults that give a published model, which is tried at `full_size`."""
    full_size: tuple[int, int] = (224, 224)
    oracle: Callable[[dict[str, Any]], nn.Module] | None = None
    """Builds the oracle from a config, if transformers' own class can't be used as it is."""
    classes: Mapping[str, type] = field(default_factory=dict)
    """Oracle classes by name, if transformers has no such class or a wrong one."""
    inert: tuple[str, ...] = ()
    """Endings of the names of tensors that affect no stage; a comment gives the reason for each."""

    @property
    def stem(self) -> str:
        return registry.find_family(self.model_type).stem

    def oracle_class(self, name: str) -> Any:
        return self.classes.get(name) or getattr(transformers, name)

    def config(self, name: str) -> dict[str, Any]:
        return {**self.small, **self.configs[name]}

    def build(self, raw_config: Mapping[str, Any], cls: str | None = None) -> nn.Module:
        """The oracle of this config with random weights and every stage requested."""
        config_class = self.oracle_class(f"{self.stem}Config")
        count = len(config_class(**raw_config).stage_names)
        raw_config = {**raw_config, "out_indices": list(range(count))}
        torch.manual_seed(0)
        if self.oracle is not None and cls is None:
            model = self.oracle(raw_config)
        else:
            model = self.oracle_class(cls or f"{self.stem}Backbone")(config_class(**raw_config))
        return randomized(model.eval())


def randomized(model: nn.Module) -> nn.Module:
    """Give all parameters and running statistics new random values, but not tables derived from sizes."""
    generator = torch.Generator().manual_seed(1)
    saved = model.state_dict().keys()
    with torch.no_grad():
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            if name in saved and tensor.is_floating_point():
                tensor.copy_(random_like(name, tensor, generator))
    return model


def random_like(name: str, tensor: Tensor, generator: torch.Generator) -> Tensor:
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


def assert_same_maps(model: Backbone, oracle: nn.Module, x: Tensor, tolerance: float = TOLERANCE) -> None:
    """Every stage equals the oracle's; if float32 rounding exceeds the tolerance, float64 must agree."""
    actual, expected = maps_of(model, x), maps_of(oracle, x)
    assert list(actual) == list(expected)
    distances = {name: distance(actual[name], expected[name]) for name in expected}
    if max(distances.values()) > tolerance:
        precise = maps_of(model.double(), x.double()), maps_of(oracle.double(), x.double())
        model.float(), oracle.float()
        in_double = {name: distance(*(maps[name] for maps in precise)) for name in expected}
        assert max(in_double.values()) < tolerance / 100 and max(distances.values()) < 10 * tolerance, (
            distances,
            in_double,
        )


def distance(actual: Tensor, expected: Tensor) -> float:
    """The largest difference, in standard deviations of the expected tensor."""
    assert actual.shape == expected.shape, (tuple(actual.shape), tuple(expected.shape))
    assert torch.isfinite(expected).all()
    return ((actual - expected).abs().max() / expected.std()).item()


# --- checkpoints in the forms of Hub repositories ---------------------------------------------------------------


def save(model: nn.Module, folder: Path) -> Path:
    """Write the model with `save_pretrained`: config.json and one model.safetensors."""
    model.save_pretrained(folder)
    return folder


def split_in_two(tensors: dict[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    names = sorted(tensors)
    middle = len(names) // 2
    for part in (names[:middle], names[middle:]):
        yield {name: tensors[name] for name in part}


def rewrite(folder: Path, form: str) -> None:
    """Convert a folder with one model.safetensors into another form that repositories use."""
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
    suffix, write = ("safetensors", save_file) if form == "sharded" else ("bin", torch.save)
    stem = "model" if form == "sharded" else "pytorch_model"
    weight_map = {}
    for i, part in enumerate(split_in_two(tensors), 1):
        shard = f"{stem}-0000{i}-of-00002.{suffix}"
        write(part, folder / shard)
        weight_map |= dict.fromkeys(part, shard)
    (folder / f"{stem}.{suffix}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


FORMS = ("safetensors", "sharded", "bin", "sharded bin", "float16", "bfloat16")


def load_all_stages(folder: Path, oracle: nn.Module) -> Backbone:
    """This package's model of a folder, with every stage that the oracle has."""
    return AutoBackbone.from_pretrained(str(folder), out_indices=list(range(len(oracle.stage_names))))


def load_oracle(case: Case, folder: Path) -> nn.Module:
    cls = case.oracle_class(f"{case.stem}Backbone")
    config = case.oracle_class(f"{case.stem}Config").from_pretrained(folder)
    config.out_indices = list(range(len(config.stage_names)))
    return cls.from_pretrained(folder, config=config, dtype=torch.float32).eval()
