"""Every stage of every family with every config equals transformers."""

from __future__ import annotations

import importlib
import pkgutil

import pytest
import torch

from backbone_cli import registry
from backbone_cli.auto import AutoBackbone
from backbone_cli.checkpoint import Checkpoint
from tests.models import cases
from tests.models.encoders import ENCODERS
from tests.models.parity import (
    FORMS,
    Case,
    assert_same_maps,
    distance,
    load_all_stages,
    load_oracle,
    maps_of,
    pixels,
    random_like,
    rewrite,
    save,
)

CASES: dict[str, Case] = {
    module.name: importlib.import_module(f"{cases.__name__}.{module.name}").CASE
    for module in pkgutil.iter_modules(cases.__path__)
}
CONFIGS = [(case, name) for case in CASES.values() for name in case.configs]


def case_id(value):
    return value.model_type if isinstance(value, Case) else value


each_family = pytest.mark.parametrize("case", CASES.values(), ids=case_id)


def test_every_family_has_a_case():
    families = {family.model_type for family in registry.families()} - {"timm_backbone"}
    assert families == {case.model_type for case in CASES.values()} | set(ENCODERS)


@pytest.mark.parametrize(("case", "name"), CONFIGS, ids=case_id)
def test_every_stage_equals_the_oracle(case, name, tmp_path):
    raw_config = case.config(name)
    oracle = case.build(raw_config)
    model = load_all_stages(save(oracle, tmp_path), oracle)
    channels = raw_config.get("num_channels", 3)
    for size in case.sizes:
        x = pixels(size, channels=channels)
        assert_same_maps(model, oracle, x)
        shapes = [tuple(m.shape[1:]) for m in maps_of(model, x).values()]
        assert shapes == [tuple(s) for s in model.config.map_shapes(*size)]
        # Maps are C H W; the tokens that some configs request instead are N C.
        assert [stage.channels for stage in model.config.stages] == [s[0 if len(s) == 3 else 1] for s in shapes]


@each_family
def test_published_layout_equals_the_oracle(case, tmp_path):
    oracle = case.build(case.full)
    model = load_all_stages(save(oracle, tmp_path), oracle)
    assert_same_maps(model, oracle, pixels(case.full_size, batch=1))


@pytest.mark.parametrize("form", FORMS)
@each_family
def test_every_form_of_checkpoint_loads(case, form, tmp_path):
    for cls in (f"{case.stem}Backbone", *case.saved_by):
        folder = save(case.build(case.small, cls), tmp_path / cls)
        rewrite(folder, form)
        oracle = load_oracle(case, folder)
        assert_same_maps(load_all_stages(folder, oracle), oracle, pixels(case.sizes[0]))


@each_family
def test_every_tensor_affects_a_stage(case, tmp_path):
    for name in case.configs:
        oracle = case.build(case.config(name))
        model = load_all_stages(save(oracle, tmp_path / name), oracle)
        x = pixels(case.sizes[-1], batch=1, channels=case.config(name).get("num_channels", 3))
        before = maps_of(model, x)
        for tensor_name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            if not tensor.is_floating_point() or tensor_name.endswith(case.inert or ("\0",)):
                continue
            original = tensor.detach().clone()
            with torch.no_grad():
                tensor.copy_(random_like(tensor_name, tensor, torch.Generator().manual_seed(3)))
            after = maps_of(model, x)
            with torch.no_grad():
                tensor.copy_(original)
            affected = any(distance(after[stage], before[stage]) > 0 for stage in before)
            assert affected, f"{tensor_name} affects no stage with the config '{name}'"
        break


@each_family
def test_only_requested_stages_are_built_and_read(case, tmp_path, monkeypatch):
    oracle = case.build(case.small)
    folder = save(oracle, tmp_path)
    expected = maps_of(oracle, x := pixels(case.sizes[0]))
    sizes = []
    for index, name in enumerate(oracle.stage_names):
        read = []
        monkeypatch.setattr(
            Checkpoint,
            "read",
            lambda self, name, read=read, real=Checkpoint.read: read.append(name) or real(self, name),
        )
        model = AutoBackbone.from_pretrained(str(folder), out_indices=[index])
        monkeypatch.undo()
        assert model.out_features == [name]
        assert distance(maps_of(model, x)[name], expected[name]) < 1e-4
        assert len(read) == len(set(read))
        sizes.append(sum(p.numel() for p in model.parameters()))
    assert sizes == sorted(sizes) and sizes[0] < sizes[-1]
