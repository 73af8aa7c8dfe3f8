"""`import backbone_cli`: the names are all there, and cost nothing until they are used."""

import subprocess
import sys
from pathlib import Path

import pytest
from torch import nn

import backbone_cli
from backbone_cli import registry
from tools import make_stub


def test_every_name_is_there():
    for name in backbone_cli.__all__:
        assert getattr(backbone_cli, name).__name__ == name
    assert set(backbone_cli.__all__) <= set(dir(backbone_cli))


def test_every_family_has_its_two_names():
    for family in registry.FAMILIES:
        for cls in (family.config_class(), family.model_class()):
            assert getattr(backbone_cli, cls.__name__) is cls


def test_type_checkers_see_the_same_names():
    message = "backbone_cli/__init__.pyi is out of date; run `python tools/make_stub.py`"
    assert make_stub.FILE.read_text(encoding="utf-8") == make_stub.stub(), message
    assert (Path(backbone_cli.__file__).parent / "py.typed").is_file()


def test_an_unknown_name():
    with pytest.raises(AttributeError, match="no attribute 'ResNextBackbone'"):
        _ = backbone_cli.ResNextBackbone


@pytest.mark.parametrize("used", ["", "AutoConfig", "register", "SwinConfig(embed_dim=48)", "BackboneConfigMixin()"])
def test_nothing_heavy_is_imported(used):
    code = f"import sys, backbone_cli\n{used and 'backbone_cli.' + used}\n"
    code += "print([m for m in ('torch', 'numpy', 'PIL', 'timm', 'transformers') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_every_name_has_help():
    bases = {nn.Module.__doc__, backbone_cli.BackboneConfig.__doc__, backbone_cli.Backbone.__doc__, dict.__doc__}
    for name in backbone_cli.__all__:
        said = getattr(backbone_cli, name).__doc__
        assert said and (said not in bases or name in ("Backbone", "BackboneConfig")), name
