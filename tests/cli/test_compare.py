"""`backbone compare`."""

import json
from pathlib import Path

import pytest
from PIL import Image

from backbone_cli.cli import run

FIXTURES = Path(__file__).parents[2] / "fixtures"
PHOTOS = str(FIXTURES / "photos")
SWIN, RESNET = (str(FIXTURES / "models" / name) for name in ("swin-micro", "resnet-micro"))


def test_model_compared_with_itself(capsys):
    assert run(["compare", SWIN, SWIN, PHOTOS, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["a"] == report["b"] and report["images"] == 3 and report["positions"] == 3 * 49
    assert [row[i] for i, row in enumerate(report["cka"])] == pytest.approx([1] * 5, abs=1e-5)
    assert report["cka"][0][4] == pytest.approx(report["cka"][4][0], abs=1e-5) != 1
    assert [row["stage"] for row in report["same"]] == ["stem", "stage1", "stage2", "stage3", "stage4"]
    assert all(row["max"] == 0 and row["cosine"] == pytest.approx(1, abs=1e-5) for row in report["same"])


def test_same_model_in_two_dtypes(capsys):
    args = ["--dtype-b", "bfloat16", "--out-features", "stem,stage4"]
    assert run(["compare", SWIN, SWIN, f"{PHOTOS}/grace_hopper.jpg", *args]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[:2] == [f"A: {SWIN} float32", f"B: {SWIN} bfloat16"]
    assert lines[3] == "Linear CKA over 1 image (rows: A, columns: B)"
    assert lines[4].split() == ["stem", "stage4"] and lines[5].split()[:2] == ["stem", "1.000"]
    stage, *_, largest, mean, std, cosine = lines[-1].split()
    assert stage == "stage4" and 0 < float(mean) < float(largest) < 0.1 * float(std) and float(cosine) > 0.999
    assert "give more images" in err  # 49 positions for 128 channels


def test_heat_map_is_written(tmp_path, capsys):
    assert run(["compare", SWIN, RESNET, PHOTOS, "-o", str(tmp_path / "cka.png"), "--theme", "light"]) == 0
    assert "Wrote" in capsys.readouterr().err
    with Image.open(tmp_path / "cka.png") as image:
        assert image.width > 300 and sum(image.getpixel((0, 0))) > 700


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        ([SWIN, PHOTOS], 2, "Missing argument"),
        ([SWIN, "/no/model", PHOTOS], 3, "There is no folder"),
        ([SWIN, SWIN, PHOTOS, "-o", "out.html"], 2, "is not a .png file"),
        ([SWIN, SWIN, "nothing/"], 2, "There is no file or folder"),
        ([SWIN, SWIN, "BAD"], 1, "None of the images"),
    ],
)
def test_error_messages(args, code, message, tmp_path, capsys):
    (tmp_path / "bad.png").write_bytes(b"")
    assert run(["compare", *(str(tmp_path / "bad.png") if arg == "BAD" else arg for arg in args)]) == code
    assert message in capsys.readouterr().err
