"""`backbone inspect`: what files hold, and whether they are intact."""

from __future__ import annotations

import json

import numpy as np
import pytest

from backbone_cli.cli import run
from tests.pipeline.stub import extract, make_model, make_photos


@pytest.fixture
def features(tmp_path):
    model, photos = make_model(tmp_path / "model"), make_photos(tmp_path / "photos", 3)
    extract(photos, model=model, output=str(tmp_path / "f"), out_indices=("0,2",))
    return tmp_path / "f"


def inspect(*args: object) -> int:
    return run(["inspect", *map(str, args)])


def test_intact_folder(features, capsys):
    assert inspect(features) == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert lines[0].split() == ["name", "shape", "dtype", "min", "max", "nan", "inf"]
    assert len(lines) == 7
    array = np.load(features / "a/0000.stem.npy")
    low, high = f"{array.min():.4g}", f"{array.max():.4g}"
    cells = [f"{features}/a/0000.stem.npy", "4 x 8 x 8", "float32", low, high, "0", "0"]
    assert lines[1].split() == " ".join(cells).split()
    assert captured.err == "Arrays: 6 intact, 0 damaged.\n"


def test_many_arrays_are_summarized(features, capsys, monkeypatch):
    monkeypatch.setattr("backbone_cli.cli.inspect.MAX_LISTED", 5)
    assert inspect(features) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines[1:]] == ["stem, 3 times", "stage2, 3 times"]


def test_damaged_folder(features, capsys):
    (features / "a/0000.stem.npy").unlink()
    content = (features / "b/0001.stem.npy").read_bytes()
    (features / "b/0001.stem.npy").write_bytes(content[:-1])
    np.save(features / "c/0002.stage2.npy", np.zeros((8, 4, 5), np.float32))
    assert inspect(features) == 1
    err = capsys.readouterr().err
    assert "a/0000.stem.npy is damaged: No such file or directory." in err
    assert "b/0001.stem.npy is damaged: it has" in err
    assert "its stage2 is float32 (8, 4, 5), but is listed as float32 (8, 4, 4)" in err
    assert err.endswith("Arrays: 3 intact, 3 damaged.\n")


def test_nan_and_inf_are_counted(features, capsys):
    array = np.load(features / "a/0000.stem.npy")
    array[0, 0, :3] = np.nan, np.inf, -np.inf
    np.save(features / "a/0000.stem.npy", array)
    assert inspect(features, "--json") == 0
    first = json.loads(capsys.readouterr().out.splitlines()[0])
    assert (first["nan"], first["inf"], first["stage"], first["shape"]) == (1, 2, "stem", [4, 8, 8])


def test_single_files(features, capsys):
    assert inspect(features / "a/0000.stem.npy") == 0
    (features / "x.npy").write_bytes(b"nothing")
    assert inspect(features / "x.npy") == 1
    assert "its header can't be read" in capsys.readouterr().err


def test_intact_files_are_read_despite_damaged_ones(features, capsys):
    (features / "x.npy").write_bytes((features / "a/0000.stem.npy").read_bytes().replace(b"}", b" "))
    header = json.dumps({"a": {"dtype": "F32", "shape": [[1]], "data_offsets": []}}).encode()
    (features / "x.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    assert inspect(features / "x.npy", features / "x.safetensors", features / "a/0000.stem.npy") == 1
    out, err = capsys.readouterr()
    assert "a/0000.stem.npy" in out
    assert err.count("its header can't be read") == 2 and "Arrays: 1 intact, 2 damaged" in err


@pytest.mark.parametrize("output", [{"file": "a/0000.stem.npy"}, {"file": "a/0000.stem.npy", "shape": 4}])
def test_invalid_index_entries(output, features, capsys):
    with (features / "index.jsonl").open("a") as index:
        index.write(json.dumps({"source": "x", "name": "x", "status": "done", "outputs": {"stem": output}}) + "\n")
    assert inspect(features) == 1
    assert "Arrays: 6 intact, 1 damaged" in capsys.readouterr().err


def test_empty_path_is_not_the_current_folder(features, capsys, monkeypatch):
    monkeypatch.chdir(features)
    assert inspect("") == 2
    assert "A path is empty" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("path", "message"),
    [("nope.npy", "does not exist"), ("photos", "holds no features"), ("photos/a/0000.png", "is not a .npy")],
)
def test_paths_without_features(path, message, features, capsys):
    assert inspect(features.parent / path) == 2
    assert message in capsys.readouterr().err
