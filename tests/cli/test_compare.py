"""`backbone compare`."""

import json
from pathlib import Path

import pytest
from PIL import Image

from backbone_cli.cli import run

FIXTURES = Path(__file__).parents[2] / "fixtures"
PHOTOS = str(FIXTURES / "photos")
SWIN, RESNET = (str(FIXTURES / "models" / name) for name in ("swin-micro", "resnet-micro"))


def test_a_model_and_itself(capsys):
    assert run(["compare", SWIN, SWIN, PHOTOS, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["a"] == said["b"] and said["images"] == 3 and said["places"] == 3 * 49
    assert [row[i] for i, row in enumerate(said["cka"])] == pytest.approx([1] * 5, abs=1e-5)
    assert said["cka"][0][4] == pytest.approx(said["cka"][4][0], abs=1e-5) != 1
    assert [one["stage"] for one in said["same"]] == ["stem", "stage1", "stage2", "stage3", "stage4"]
    assert all(one["max"] == 0 and one["cosine"] == pytest.approx(1, abs=1e-5) for one in said["same"])


def test_two_dtypes(capsys):
    args = ["--dtype-b", "bfloat16", "--out-features", "stem,stage4"]
    assert run(["compare", SWIN, SWIN, f"{PHOTOS}/grace_hopper.jpg", *args]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[:2] == [f"A: {SWIN} float32", f"B: {SWIN} bfloat16"]
    assert lines[3] == "Linear CKA over 1 image (rows: A, columns: B)"
    assert lines[4].split() == ["stem", "stage4"] and lines[5].split()[:2] == ["stem", "1.000"]
    stage, *_, largest, mean, std, cosine = lines[-1].split()
    assert stage == "stage4" and 0 < float(mean) < float(largest) < 0.1 * float(std) and float(cosine) > 0.999
    assert "give more images" in err  # 49 places for 128 channels


def test_a_heat_map(tmp_path, capsys):
    assert run(["compare", SWIN, RESNET, PHOTOS, "-o", str(tmp_path / "alike.png"), "--theme", "light"]) == 0
    assert "Wrote" in capsys.readouterr().err
    with Image.open(tmp_path / "alike.png") as picture:
        assert picture.width > 300 and sum(picture.getpixel((0, 0))) > 700


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        ([SWIN, PHOTOS], 2, "Missing argument"),
        ([SWIN, "/no/model", PHOTOS], 3, "There is no folder"),
        ([SWIN, SWIN, PHOTOS, "-o", "out.html"], 2, "is no .png file"),
        ([SWIN, SWIN, "nothing/"], 2, "There is no file or folder"),
        ([SWIN, SWIN, "BAD"], 1, "None of the images"),
    ],
)
def test_errors_are_sentences(args, code, said, tmp_path, capsys):
    (tmp_path / "bad.png").write_bytes(b"")
    assert run(["compare", *(str(tmp_path / "bad.png") if arg == "BAD" else arg for arg in args)]) == code
    assert said in capsys.readouterr().err
