"""`backbone models`."""

import json

import pytest

from backbone_cli.cli import run
from backbone_cli.cli.models import summarize_stages
from backbone_cli.registry import families
from backbone_cli.timm.facts import TimmStage


def list_models(capsys, *args):
    assert run(["models", *args, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_all_families_are_listed(capsys):
    rows = list_models(capsys)
    assert {row.model_type for row in families()} <= {row["family"] for row in rows}
    assert {"family": "swin", "model": "microsoft/swin-tiny-patch4-window7-224"} in rows
    assert {"family": "detr", "model": "facebook/detr-resnet-50"} in rows


def test_patterns(capsys):
    assert {row["family"] for row in list_models(capsys, "--family", "nat")} == {"nat"}
    assert all("convnextv2-tiny" in row["model"] for row in list_models(capsys, "*convnextv2-tiny*"))
    assert list_models(capsys, "resnet-152") == [{"family": "resnet", "model": "microsoft/resnet-152"}]
    assert {row["family"] for row in list_models(capsys, "dinov2_with")} == {"dinov2_with_registers"}


def test_table(capsys):
    assert run(["models", "--family", "bit"]) == 0
    assert capsys.readouterr().out == "family  model\nbit     google/bit-50\n"


def test_timm_names(capsys):
    (row,) = [row for row in list_models(capsys, "--timm", "resnet50*") if row["model"] == "resnet50"]
    assert row["image_size"] == [224, 224] and "a1_in1k" in row["weights"]
    assert row["stages"][1] == {"name": "layer1", "channels": 256, "stride": 4}
    assert run(["models", "--timm", "resnet50"]) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split()[0] == "model"
    (line,) = [line for line in lines if line.startswith("resnet50 ")]
    assert "224x224" in line and "64/2 256/4 512/8 1024/16 2048/32" in line


def test_equal_stages_are_counted():
    blocks = [TimmStage(f"blocks.{i}", 384, 16, 16, 0) for i in range(12)]
    assert list(summarize_stages(blocks)) == ["12 x 384/16"]
    assert list(summarize_stages([*blocks[:1], TimmStage("head", 8, 32, 32, 0)])) == ["384/16", "8/32"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["nothing-like-it"], "matches 'nothing-like-it'"),
        (["--timm", "nothing-like-it"], "No timm model matches"),
        (["--family", "swim"], "Did you mean 'swin'"),
        (["--timm", "--family", "swin"], "--family is for Hub models"),
    ],
)
def test_error_messages(args, message, capsys):
    assert run(["models", *args]) == 2
    out, err = capsys.readouterr()
    assert message in err and not out
