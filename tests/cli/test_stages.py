"""`backbone stages`."""

import json

import pytest

from backbone_cli.cli import run
from backbone_cli.configs.dinov2 import Dinov2Config
from backbone_cli.configs.resnet import ResNetConfig
from backbone_cli.configs.swin import SwinConfig
from backbone_cli.configs.vitdet import VitDetConfig


@pytest.fixture
def swin(tmp_path):
    SwinConfig().save_pretrained(tmp_path / "swin")
    return str(tmp_path / "swin")


def test_table(swin, capsys):
    assert run(["stages", swin]) == 0
    assert capsys.readouterr().out == (
        f"{swin}  (swin, 224x224 pixels)\n"
        "index  name    channels  stride  shape\n"
        "    0  stem          96       4  96 x 56 x 56\n"
        "    1  stage1        96       4  96 x 56 x 56\n"
        "    2  stage2       192       8  192 x 28 x 28\n"
        "    3  stage3       384      16  384 x 14 x 14\n"
        "    4  stage4       768      32  768 x 7 x 7\n"
    )


def test_json(swin, capsys):
    assert run(["stages", swin, "--json", "--image-size", "97x131"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert list(summary) == ["model", "family", "image_size", "stages"]
    assert (summary["model"], summary["family"], summary["image_size"]) == (swin, "swin", [97, 131])
    assert summary["stages"][2] == {"index": 2, "name": "stage2", "channels": 192, "stride": 8, "shape": [192, 13, 17]}


def test_relative_folder_needs_no_network(tmp_path, monkeypatch, capsys):
    ResNetConfig().save_pretrained(tmp_path / "net")
    monkeypatch.chdir(tmp_path)
    assert run(["stages", "./net"]) == 0
    assert run(["stages", "net"]) == 0
    assert "stage4" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["stages"], 2, "Missing argument"),
        (["stages", "MODEL", "--image-size", "big"], 2, "not an image size"),
        (["stages", "MODEL", "--nope"], 2, "No such option: --nope"),
        (["stages", "/no/such/folder"], 3, "There is no folder"),
        (["stages", "some/model", "--offline"], 3, "not in the cache"),
        (["stages", "EMPTY"], 3, "no config.json"),
        (["stagse"], 2, "No such command"),
        (["stages", ""], 2, "The model is empty"),
    ],
)
def test_error_messages(args, code, message, swin, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    folders = {"MODEL": swin, "EMPTY": str(tmp_path / "empty")}
    assert run([folders.get(arg, arg) for arg in args]) == code
    out, err = capsys.readouterr()
    assert message in err and "Traceback" not in err and not out


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("not json", "can't be read as JSON"),
        ("[]", "should hold a JSON object"),
        ("{}", "no model_type"),
        ('{"model_type": "swim"}', "Did you mean 'swin'"),
        ('{"model_type": "swin", "depths": [2], "num_heads": [1, 2]}', "depths has 1 values"),
        ('{"model_type": "swin", "depths": "many"}', "depths='many' should be"),
        ('{"model_type": "resnet", "layer_type": "odd"}', "layer_type='odd' is not supported"),
    ],
)
def test_invalid_configs_are_refused(config, message, tmp_path, capsys):
    (tmp_path / "config.json").write_text(config)
    assert run(["stages", str(tmp_path)]) == 3
    assert message in capsys.readouterr().err


def test_image_size_too_small_for_a_stage(tmp_path, capsys):
    Dinov2Config().save_pretrained(tmp_path)
    assert run(["stages", str(tmp_path), "--image-size", "8"]) == 2
    captured = capsys.readouterr()
    assert "8x8 pixels is too small" in captured.err and not captured.out


@pytest.mark.parametrize("name", ["a" * 5000, "a/" + "b" * 300])
def test_name_that_is_too_long(name, capsys):
    assert run(["stages", name]) == 3
    assert "folder" in capsys.readouterr().err


def test_json_nested_too_deeply(tmp_path, capsys):
    (tmp_path / "config.json").write_text("[" * 100_000)
    assert run(["stages", str(tmp_path)]) == 3
    assert "can't be read as JSON" in capsys.readouterr().err


def test_unsupported_processor_does_not_matter(tmp_path, capsys):
    VitDetConfig(image_size=64, hidden_size=24, num_attention_heads=2, num_hidden_layers=2).save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text('{"image_processor_type": "VitMatteImageProcessor"}')
    assert run(["stages", str(tmp_path)]) == 0
    assert "64x64 pixels" in capsys.readouterr().out
