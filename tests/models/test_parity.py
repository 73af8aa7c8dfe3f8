"""Every family, every config, every stage: equal to transformers."""

from __future__ import annotations

import importlib
import pkgutil

import pytest
import torch

from backbone_cli import registry
from backbone_cli.auto import AutoBackbone
from backbone_cli.checkpoint import Checkpoint
from tests.models import cases
from tests.models.parity import (
    FORMS,
    Case,
    assert_same_maps,
    distance,
    draw_like,
    load_oracle,
    load_ours,
    maps_of,
    pixels,
    rewrite,
    save,
)

CASES: dict[str, Case] = {
    module.name: importlib.import_module(f"{cases.__name__}.{module.name}").CASE
    for module in pkgutil.iter_modules(cases.__path__)
}
CONFIGS = [(case, name) for case in CASES.values() for name in case.configs]


def by_name(value):
    return value.model_type if isinstance(value, Case) else value


each_family = pytest.mark.parametrize("case", CASES.values(), ids=by_name)


def test_every_family_has_a_row():
    families = {family.model_type for family in registry.families()} - {"timm_backbone"}
    assert families == {case.model_type for case in CASES.values()}


@pytest.mark.parametrize(("case", "name"), CONFIGS, ids=by_name)
def test_every_stage_equals_the_oracle(case, name, tmp_path):
    said = case.config(name)
    oracle = case.build(said)
    ours = load_ours(save(oracle, tmp_path), oracle)
    channels = said.get("num_channels", 3)
    for size in case.sizes:
        x = pixels(size, channels=channels)
        assert_same_maps(ours, oracle, x)
        shapes = [tuple(m.shape[1:]) for m in maps_of(ours, x).values()]
        assert shapes == [tuple(s) for s in ours.config.map_shapes(*size)]
        # Maps are C H W; rows of tokens, which some configs ask for instead, N C.
        assert [stage.channels for stage in ours.config.stages] == [s[0 if len(s) == 3 else 1] for s in shapes]


@each_family
def test_the_published_layout(case, tmp_path):
    oracle = case.build(case.full)
    ours = load_ours(save(oracle, tmp_path), oracle)
    assert_same_maps(ours, oracle, pixels(case.full_size, batch=1))


@pytest.mark.parametrize("form", FORMS)
@each_family
def test_every_form_of_checkpoint(case, form, tmp_path):
    for cls in (f"{case.stem}Backbone", *case.saved_by):
        folder = save(case.build(case.small, cls), tmp_path / cls)
        rewrite(folder, form)
        oracle = load_oracle(case, folder)
        assert_same_maps(load_ours(folder, oracle), oracle, pixels(case.sizes[0]))


@each_family
def test_every_tensor_matters(case, tmp_path):
    for name in case.configs:
        oracle = case.build(case.config(name))
        ours = load_ours(save(oracle, tmp_path / name), oracle)
        x = pixels(case.sizes[-1], batch=1, channels=case.config(name).get("num_channels", 3))
        before = maps_of(ours, x)
        for tensor_name, tensor in [*ours.named_parameters(), *ours.named_buffers()]:
            if not tensor.is_floating_point() or tensor_name.endswith(case.inert or ("\0",)):
                continue
            kept = tensor.detach().clone()
            with torch.no_grad():
                tensor.copy_(draw_like(tensor_name, tensor, torch.Generator().manual_seed(3)))
            after = maps_of(ours, x)
            with torch.no_grad():
                tensor.copy_(kept)
            changed = any(distance(after[stage], before[stage]) > 0 for stage in before)
            assert changed, f"{tensor_name} has no influence with the config '{name}'"
        break


@each_family
def test_only_what_is_asked_for_is_built_and_read(case, tmp_path, monkeypatch):
    oracle = case.build(case.small)
    folder = save(oracle, tmp_path)
    requested = maps_of(oracle, x := pixels(case.sizes[0]))
    sizes = []
    for index, name in enumerate(oracle.stage_names):
        read = []
        monkeypatch.setattr(
            Checkpoint,
            "read",
            lambda self, name, read=read, real=Checkpoint.read: read.append(name) or real(self, name),
        )
        ours = AutoBackbone.from_pretrained(str(folder), out_indices=[index])
        monkeypatch.undo()
        assert ours.out_features == [name]
        assert distance(maps_of(ours, x)[name], requested[name]) < 1e-4
        assert len(read) == len(set(read))
        sizes.append(sum(p.numel() for p in ours.parameters()))
    assert sizes == sorted(sizes) and sizes[0] < sizes[-1]
