"""`backbone inspect`: what files hold, and whether they are whole."""

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


def test_a_folder(features, capsys):
    assert inspect(features) == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert lines[0].split() == ["name", "shape", "dtype", "min", "max", "nan", "inf"]
    assert len(lines) == 7
    held = np.load(features / "a/0000.stem.npy")
    cells = [f"{features}/a/0000.stem.npy", "4 x 8 x 8", "float32", f"{held.min():.4g}", f"{held.max():.4g}", "0", "0"]
    assert lines[1].split() == " ".join(cells).split()
    assert captured.err == "6 arrays are whole.\n"


def test_many_arrays_are_summed_up(features, capsys, monkeypatch):
    monkeypatch.setattr("backbone_cli.cli.inspect.LISTED", 5)
    assert inspect(features) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines[1:]] == ["stem, 3 times", "stage2, 3 times"]


def test_damage(features, capsys):
    (features / "a/0000.stem.npy").unlink()
    whole = (features / "b/0001.stem.npy").read_bytes()
    (features / "b/0001.stem.npy").write_bytes(whole[:-1])
    np.save(features / "c/0002.stage2.npy", np.zeros((8, 4, 5), np.float32))
    assert inspect(features) == 1
    said = capsys.readouterr().err
    assert "a/0000.stem.npy is damaged: No such file or directory." in said
    assert "b/0001.stem.npy is damaged: it has" in said
    assert "stage2 is float32 (8, 4, 5) in it, and is listed as float32 (8, 4, 4)" in said
    assert said.endswith("3 arrays are whole, 3 are not.\n")


def test_values_that_are_no_numbers_are_counted(features, capsys):
    held = np.load(features / "a/0000.stem.npy")
    held[0, 0, :3] = np.nan, np.inf, -np.inf
    np.save(features / "a/0000.stem.npy", held)
    assert inspect(features, "--json") == 0
    first = json.loads(capsys.readouterr().out.splitlines()[0])
    assert (first["nan"], first["inf"], first["stage"], first["shape"]) == (1, 2, "stem", [4, 8, 8])


def test_single_files(features, capsys):
    assert inspect(features / "a/0000.stem.npy") == 0
    (features / "x.npy").write_bytes(b"nothing")
    assert inspect(features / "x.npy") == 1
    assert "its header can't be read" in capsys.readouterr().err


def test_damaged_files_do_not_keep_others_from_being_read(features, capsys):
    (features / "x.npy").write_bytes((features / "a/0000.stem.npy").read_bytes().replace(b"}", b" "))
    said = json.dumps({"a": {"dtype": "F32", "shape": [[1]], "data_offsets": []}}).encode()
    (features / "x.safetensors").write_bytes(len(said).to_bytes(8, "little") + said)
    assert inspect(features / "x.npy", features / "x.safetensors", features / "a/0000.stem.npy") == 1
    out, err = capsys.readouterr()
    assert "a/0000.stem.npy" in out
    assert err.count("its header can't be read") == 2 and "1 arrays are whole, 2 are not" in err


@pytest.mark.parametrize("about", [{"file": "a/0000.stem.npy"}, {"file": "a/0000.stem.npy", "shape": 4}])
def test_index_lines_that_make_no_sense(about, features, capsys):
    with (features / "index.jsonl").open("a") as index:
        index.write(json.dumps({"source": "x", "name": "x", "status": "done", "outputs": {"stem": about}}) + "\n")
    assert inspect(features) == 1
    assert "6 arrays are whole, 1 are not" in capsys.readouterr().err


def test_an_empty_text_is_not_this_folder(features, capsys, monkeypatch):
    monkeypatch.chdir(features)
    assert inspect("") == 2
    assert "empty text" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("path", "said"),
    [("nope.npy", "does not exist"), ("photos", "holds no features"), ("photos/a/0000.png", "is no .npy")],
)
def test_what_is_no_output(path, said, features, capsys):
    assert inspect(features.parent / path) == 2
    assert said in capsys.readouterr().err
