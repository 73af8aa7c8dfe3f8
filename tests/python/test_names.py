"""`import backbone_cli`: every public name exists, and nothing is imported before it is used."""

import subprocess
import sys
from pathlib import Path

import pytest
from torch import nn

import backbone_cli
from backbone_cli import registry
from tools import make_stub


def test_every_public_name_exists():
    for name in backbone_cli.__all__:
        assert getattr(backbone_cli, name).__name__ == name
    assert set(backbone_cli.__all__) <= set(dir(backbone_cli))


def test_every_family_has_a_config_and_a_model_name():
    for family in registry.FAMILIES:
        for cls in (family.config_class(), family.model_class()):
            assert getattr(backbone_cli, cls.__name__) is cls


def test_type_checkers_see_the_same_names():
    message = "backbone_cli/__init__.pyi is out of date; run `python tools/make_stub.py`"
    assert make_stub.FILE.read_text(encoding="utf-8") == make_stub.stub(), message
    assert (Path(backbone_cli.__file__).parent / "py.typed").is_file()


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'ResNextBackbone'"):
        _ = backbone_cli.ResNextBackbone


@pytest.mark.parametrize(
    "expression", ["", "AutoConfig", "register", "SwinConfig(embed_dim=48)", "BackboneConfigMixin()"]
)
def test_nothing_heavy_is_imported(expression):
    code = f"import sys, backbone_cli\n{expression and 'backbone_cli.' + expression}\n"
    code += "print([m for m in ('torch', 'numpy', 'PIL', 'timm', 'transformers') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_every_name_has_a_docstring():
    inherited = {nn.Module.__doc__, backbone_cli.BackboneConfig.__doc__, backbone_cli.Backbone.__doc__, dict.__doc__}
    for name in backbone_cli.__all__:
        doc = getattr(backbone_cli, name).__doc__
        assert doc and (doc not in inherited or name in ("Backbone", "BackboneConfig")), name
