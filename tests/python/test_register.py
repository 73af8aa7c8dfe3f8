"""Families from outside the package, added with `register` or an entry point; uses the documented example."""

import importlib
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from backbone_cli import AutoBackbone, AutoConfig, SwinBackbone, SwinConfig, register, registry
from backbone_cli.cli import run
from backbone_cli.errors import UnsupportedModel

EXAMPLE = Path(__file__).parents[2] / "docs/examples/my_family.py"


@pytest.fixture(autouse=True)
def clean_registry(monkeypatch):
    monkeypatch.setattr(registry, "REGISTERED", {})
    registry.load_plugins.cache_clear()
    yield
    registry.load_plugins.cache_clear()
    sys.modules.pop("my_family", None)


@pytest.fixture
def example(tmp_path, monkeypatch):
    """The folder of the documented example, which can be imported but is not registered yet."""
    (tmp_path / "site").mkdir()
    shutil.copy(EXAMPLE, tmp_path / "site")
    monkeypatch.syspath_prepend(tmp_path / "site")
    return tmp_path / "site"


def install(site: Path, value: str = "my_family"):
    """Write the metadata of an installed package that has the entry point."""
    info = site / "my_family-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-family\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[backbone_cli.families]\nplainnet = {value}\n")


def test_documented_example(example, tmp_path):
    my_family = importlib.import_module("my_family")
    config = my_family.PlainNetConfig(width=4, out_indices=[0, 3])
    model = AutoBackbone.from_config(config)
    model.save_pretrained(tmp_path / "net")
    loaded = AutoBackbone.from_pretrained(str(tmp_path / "net"))
    assert isinstance(loaded, my_family.PlainNetBackbone) and loaded.config == config
    x = torch.randn(2, 3, 65, 40)
    maps, expected = loaded(x).feature_maps, model(x).feature_maps
    assert [tuple(m.shape[1:]) for m in maps] == [(4, 16, 10), (32, 2, 2)]
    assert all(torch.equal(a, b) for a, b in zip(maps, expected, strict=True))
    loaded.out_indices = [2]
    assert loaded(x).feature_maps[0].shape == (2, 16, 4, 3)
    assert "plainnet" in {family.model_type for family in registry.families()}


def test_command_line_finds_an_installed_family(example, tmp_path, capsys):
    install(example)
    (tmp_path / "net").mkdir()
    (tmp_path / "net/config.json").write_text('{"model_type": "plainnet", "width": 4}')
    (tmp_path / "net/preprocessor_config.json").write_text('{"size": {"height": 64, "width": 64}}')
    Image.fromarray(np.zeros((80, 70, 3), np.uint8)).save(tmp_path / "black.png")
    assert run(["stages", str(tmp_path / "net"), "--image-size", "64"]) == 0
    assert "stage3        32      32  32 x 2 x 2" in capsys.readouterr().out
    command = ["extract", "-m", str(tmp_path / "net"), "--random-init", "-o", str(tmp_path / "out"), "-j", "0"]
    assert run([*command, str(tmp_path / "black.png")]) == 0
    assert np.load(tmp_path / "out/black.stage3.npy").shape == (32, 2, 2)
    assert run(["models", "plainnet"]) == 0
    assert "plainnet" in capsys.readouterr().out


def test_plugins_are_only_loaded_for_other_families(example):
    install(example)
    code = f"import sys; sys.path.insert(0, {str(example)!r}); from backbone_cli import registry\n"
    code += "registry.find_family('swin'); assert 'my_family' not in sys.modules\n"
    code += "print(registry.find_family('plainnet').stem)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "PlainNet\n"


def test_classes_given_as_strings(example, tmp_path):
    register("plainnet", "my_family:PlainNetConfig", "my_family:PlainNetBackbone", ids=("me/plainnet",))
    assert "my_family" not in sys.modules
    (tmp_path / "config.json").write_text('{"model_type": "plainnet"}')
    assert registry.find_family("plainnet").ids == ("me/plainnet",)
    assert AutoConfig.from_pretrained(str(tmp_path)).num_features == [16, 32, 64, 128]


def test_registering_again_replaces_but_built_in_families_are_protected():
    register("mine", SwinConfig, SwinBackbone)
    assert register("mine", SwinConfig, SwinBackbone, prefixes=("a.",)) == registry.find_family("mine")
    with pytest.raises(ValueError, match="'swin' is built in"):
        register("swin", SwinConfig, SwinBackbone)


def test_broken_plugin_is_an_error(example):
    install(example, "my_famly")
    registry.find_family("swin")
    with pytest.raises(UnsupportedModel, match="'plainnet' of my_famly can't be loaded"):
        registry.find_family("plainnet")
