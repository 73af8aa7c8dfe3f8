"""`backbone view`, with the small models and photos in `fixtures`."""

import shutil
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from backbone_cli.cli import run

FIXTURES = Path(__file__).parents[2] / "fixtures"
PHOTOS = str(FIXTURES / "photos")
SWIN = str(FIXTURES / "models/swin-micro")
HOPPER = f"{PHOTOS}/grace_hopper.jpg"


def view(*args):
    return run(["view", *map(str, args)])


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    folder = tmp_path_factory.mktemp("extracted") / "features"
    args = [PHOTOS, "-m", SWIN, "--out-features", "stage2,stage4", "-o", str(folder), "-q", "-j", "0"]
    assert run(["extract", *args]) == 0
    return folder


def test_sheet_is_deterministic(tmp_path):
    for name in ("one.png", "two.png"):
        assert view(HOPPER, "-m", SWIN, "-o", tmp_path / name) == 0
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    with Image.open(tmp_path / "one.png") as sheet:
        assert sheet.height > 5 * 224  # all five stages


def test_one_picture_for_all_photos_or_one_per_photo(tmp_path):
    assert view(PHOTOS, "-m", SWIN, "--out-indices", "-1", "-o", tmp_path / "all.PNG") == 0
    assert view(PHOTOS, "-m", SWIN, "--out-features", "stage4", "--theme", "light", "-o", f"{tmp_path}/each/") == 0
    names = sorted(path.relative_to(tmp_path / "each").as_posix() for path in tmp_path.glob("each/**/*.png"))
    assert names == ["drawn/harbour.png", "drawn/shapes.png", "grace_hopper.png"]
    with Image.open(tmp_path / "all.PNG") as combined, Image.open(tmp_path / "each/grace_hopper.png") as single:
        assert combined.size == (single.width, 3 * single.height)
        assert sum(single.getpixel((0, 0))) > 700 > sum(combined.getpixel((0, 0)))


def test_extracted_features_need_no_model(features, tmp_path, monkeypatch):
    assert view(HOPPER, "-m", SWIN, "--out-features", "stage2,stage4", "-o", tmp_path / "model.png") == 0
    monkeypatch.setattr("backbone_cli.view.photos.FeatureViewer", None)
    assert view(features, "--image", "grace_hopper", "-o", tmp_path / "features.png") == 0
    assert (tmp_path / "features.png").read_bytes() == (tmp_path / "model.png").read_bytes()


def test_features_of_deleted_photos(features, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(features, "features")
    index = Path("features/index.jsonl")
    index.write_text(index.read_text().replace(PHOTOS, "/no/where"))
    assert view("features", "--image", "drawn/shapes", "--out-features", "stage4", "-o", "out.png") == 0
    assert "It is shown in grey." in capsys.readouterr().err
    with Image.open("out.png") as sheet:
        assert sheet.convert("RGB").getpixel((100, 300)) == (128, 128, 128)


def test_names_with_control_characters(tmp_path, capsys):
    photo = tmp_path / "a\nb\t\x1b[31m.jpg"
    shutil.copy(HOPPER, photo)
    assert view(photo, "-m", SWIN, "--out-indices", "4", "-o", tmp_path / "x.png") == 0
    assert view(photo, "-m", SWIN, "--out-indices", "4", "-o", f"{tmp_path}/out/") == 0
    assert (tmp_path / f"out/{photo.stem}.png").read_bytes() == (tmp_path / "x.png").read_bytes()
    capsys.readouterr()
    assert view(photo, "-m", SWIN, "--out-indices", "4") == 0
    assert capsys.readouterr().out.startswith(r"a\nb\t\x1b[31m, resized to")


def test_features_from_a_timm_model(tmp_path, capsys):
    args = ["extract", HOPPER, "-m", "test_resnet", "--random-init", "-o", str(tmp_path / "f"), "-q", "-j", "0"]
    assert run(args) == 0
    assert view(HOPPER, "-m", "test_resnet", "--random-init", "--out-indices", "-1", "-o", tmp_path / "model.png") == 0
    assert view(tmp_path / "f", "-o", tmp_path / "features.png") == 0
    assert (tmp_path / "features.png").read_bytes() == (tmp_path / "model.png").read_bytes()
    assert "grey" not in capsys.readouterr().err


def test_features_of_photos_in_a_tar(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path.parent)
    with tarfile.open(tmp_path / "t.tar", "w") as tar:
        tar.add(HOPPER, "./many/1.jpg")
        tar.add(f"{PHOTOS}/drawn/shapes.png", "2.png")
    tar_path = f"./{tmp_path.name}/t.tar"
    args = ["-m", SWIN, "--out-indices", "4"]
    assert run(["extract", tar_path, *args, "-o", str(tmp_path / "f"), "-q", "-j", "0"]) == 0
    assert view(tar_path, *args, "-o", tmp_path / "model.png") == 0
    assert view(tmp_path / "f", "-o", tmp_path / "features.png") == 0
    with Image.open(tmp_path / "features.png") as saved, Image.open(tmp_path / "model.png") as computed:
        for box in ((40, 180, 264, 404), (40, 180 + computed.height // 2, 264, 404 + computed.height // 2)):
            assert saved.crop(box).tobytes() == computed.crop(box).tobytes()
    assert "grey" not in capsys.readouterr().err


def test_html_page(tmp_path, capsys):
    assert view(HOPPER, "-m", SWIN, "-o", tmp_path / "page.html", "--theme", "dark") == 0
    text = (tmp_path / "page.html").read_text()
    assert 'data-theme="dark"' in text and SWIN in text
    assert "kB)" in capsys.readouterr().err
    assert view(HOPPER, "-m", SWIN, "-o", tmp_path / "page.html", "--max-size", "1kB") == 2
    assert "larger --max-size" in capsys.readouterr().err


def test_table_without_a_terminal(capsys):
    assert view(HOPPER, "-m", SWIN, "--out-indices", "3,4") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "grace_hopper, resized to 224x224 pixels"
    assert lines[1].split() == ["stage", "shape", "stride", "min", "mean", "max", "std"]
    assert lines[2].split()[:7] == ["stage3", "64", "x", "14", "x", "14", "16"]
    assert len(lines) == 4


def test_preview_in_a_terminal(capsys, monkeypatch):
    for name, value in (("FORCE_COLOR", "1"), ("COLORTERM", "truecolor"), ("TERM", "xterm"), ("COLUMNS", "80")):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert view(HOPPER, "-m", SWIN) == 0
    out = capsys.readouterr().out
    assert out.count("▀") > 500 and "\x1b[38;2;" in out and "stage4" in out
    monkeypatch.setenv("NO_COLOR", "1")
    assert view(HOPPER, "-m", SWIN, "--out-indices", "4") == 0
    assert "▀" not in capsys.readouterr().out


def test_unreadable_photo_fails_alone(tmp_path, capsys):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"not an image")
    assert view(bad, HOPPER, "-m", SWIN, "--out-indices", "4") == 1
    out, err = capsys.readouterr()
    assert "grace_hopper" in out and str(bad) in err
    assert view(bad, "-m", SWIN) == 1
    assert "None of the images" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        ([HOPPER], 2, "Give a model"),
        ([HOPPER, "-m", "/no/model"], 3, "There is no folder"),
        ([HOPPER, "-m", SWIN, "--out-features", "stage9"], 2, "Did you mean 'stage"),
        ([HOPPER, "-m", SWIN, "-o", "out.gif"], 2, "is not a .png or .html file"),
        ([HOPPER, "-m", SWIN, "-o", "/no/where/out.png"], 2, "The folder '/no/where' for 'out.png' does not exist"),
        ([HOPPER, "-m", SWIN, "-o", "FEATURES/backbone.json/"], 4, "can't be written"),
        ([HOPPER, "-m", SWIN, "-o", ""], 2, "--output is empty"),
        (["", HOPPER, "-m", SWIN], 2, "An input is empty"),
        ([HOPPER, "-m", SWIN, "--max-size", "big"], 2, "--max-size"),
        ([HOPPER, "-m", SWIN, "--image", "x"], 2, "--image chooses from a features folder"),
        (["no.jpg", "-m", SWIN], 2, "There is no file or folder 'no.jpg'"),
        (["FEATURES", "--image", "grace_hoper"], 2, "Did you mean 'grace_hopper'"),
        (["FEATURES", "--out-features", "stage1"], 2, "no stage 'stage1'"),
    ],
)
def test_error_messages(args, code, message, features, capsys, monkeypatch):
    monkeypatch.delenv("BACKBONE_MODEL", raising=False)
    assert view(*(arg.replace("FEATURES", str(features)) for arg in args)) == code
    err = capsys.readouterr().err
    assert message in err and "Unexpected error" not in err


def test_pooled_features_are_refused(tmp_path, capsys):
    args = [HOPPER, "-m", SWIN, "--pool", "mean", "-o", str(tmp_path / "f"), "-q", "-j", "0"]
    assert run(["extract", *args]) == 0
    assert view(tmp_path / "f") == 2
    assert "--pool none" in capsys.readouterr().err


def test_too_many_photos_are_refused(tmp_path, capsys):
    for i in range(65):
        (tmp_path / f"{i}.jpg").touch()
    assert view(tmp_path, "-m", SWIN) == 2
    assert "more than 64 images" in capsys.readouterr().err
