"""Whole runs over real files, with a stub for the model: what is written, and what happens when something fails."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backbone_cli.errors import ImageError, OutputError, UsageError
from backbone_cli.output import sinks
from backbone_cli.pipeline import prepare
from backbone_cli.pipeline.request import Request
from backbone_cli.pipeline.run import run

from .stub import (
    STAGES,
    StubEngine,
    extract,
    make_model,
    make_photos,
    processed,
    random_image,
    read_index,
    statuses,
    stub_maps,
    tree,
)

# --- what is written --------------------------------------------------------------------------------------------


def test_layout_files(model, photos, out):
    events = extract(photos, model=model, output=str(out), out_indices=("0,2",))
    assert [event.status for event in events] == ["done"] * 10
    lines = read_index(out)
    assert [line["name"] for line in lines] == sorted(line["name"] for line in lines)
    assert lines[0] == {
        "source": f"{photos}/a/0000.png",
        "name": "a/0000",
        "status": "done",
        "outputs": {
            "stem": {"file": "a/0000.stem.npy", "shape": [4, 8, 8]},
            "stage2": {"file": "a/0000.stage2.npy", "shape": [8, 4, 4]},
        },
        "error": None,
    }
    for line in lines:
        expected = stub_maps(processed(line["source"]), ("stem", "stage2"))
        for stage, output in line["outputs"].items():
            assert np.array_equal(np.load(out / output["file"]), expected[stage])
    assert len(tree(out)) == 2 + 20


def test_format_safetensors(model, photos, out):
    from safetensors.numpy import load_file

    extract(photos, model=model, output=str(out), format="safetensors", out_indices=("all",))
    line = read_index(out)[4]
    arrays = load_file(out / line["outputs"]["stem"]["file"])
    expected = stub_maps(processed(line["source"]))
    assert set(arrays) == set(STAGES)
    assert all(np.array_equal(arrays[stage], expected[stage]) for stage in STAGES)


@pytest.mark.parametrize("form", ["npy", "safetensors"])
def test_layout_stacked(form, model, photos, out):
    from safetensors.numpy import load_file

    events = extract(photos, model=model, output=str(out), layout="stacked", format=form, out_indices=("all",))
    lines = read_index(out)
    if form == "npy":
        stacks = {stage: np.load(out / f"{stage}.npy", mmap_mode="r") for stage in STAGES}
    else:
        stacks = load_file(out / "features.safetensors")
    assert stacks["stage2"].shape == (10, 8, 4, 4)
    assert [line["outputs"]["stem"]["row"] for line in lines] == list(range(10))
    for row, line in enumerate(lines):
        expected = stub_maps(processed(line["source"]))
        assert all(np.array_equal(stacks[stage][row], expected[stage]) for stage in STAGES)
    assert len(tree(out)) == (5 if form == "npy" else 3)
    assert statuses(events) == {line["name"]: "done" for line in lines}


def test_failed_images_are_rows_of_nan_in_a_stack(model, tmp_path, out):
    photos = Path(make_photos(tmp_path / "in", 5))
    (photos / "a/0000.png").write_bytes(b"not an image")
    (photos / "b/0001.png").write_bytes(b"")
    extract(photos, model=model, output=str(out), layout="stacked", batch_size=2)
    stack = np.load(out / "stage2.npy")
    assert np.isnan(stack).all((1, 2, 3)).tolist() == [True, False, True, False, False]
    lines = read_index(out)
    assert [line["row"] for line in lines if line["status"] == "failed"] == [0, 2]
    shutil.copy(photos / "c/0002.png", photos / "a/0000.png")
    extract(photos, model=model, output=str(out), layout="stacked", batch_size=2)
    stack = np.load(out / "stage2.npy")
    assert np.isnan(stack).all((1, 2, 3)).tolist() == [False, False, True, False, False]


def test_finished_stack_is_opened_again_for_a_missing_image(model, tmp_path, out):
    photos = Path(make_photos(tmp_path / "in", 40))
    image = (photos / "a/0000.png").read_bytes()
    (photos / "a/0000.png").write_bytes(b"not an image")
    extract(photos, model=model, output=str(out), layout="stacked", batch_size=2)
    (photos / "a/0000.png").write_bytes(image)
    events = extract(photos, model=model, output=str(out), layout="stacked", batch_size=2)
    assert [event.status for event in events].count("skipped") == 39
    extract(photos, model=model, output=f"{out}-2", layout="stacked", batch_size=2)
    assert tree(out) == tree(f"{out}-2")


def test_stack_is_not_written_if_all_images_failed(model, tmp_path, out):
    (tmp_path / "a.png").write_bytes(b"not an image")
    assert statuses(extract(tmp_path / "a.png", model=model, output=str(out), layout="stacked")) == {"a": "failed"}
    assert sorted(tree(out)) == ["backbone.json", "index.jsonl"]


def test_stack_needs_a_fixed_image_size(tmp_path, photos, out):
    model = make_model(tmp_path / "model", size={"shortest_edge": 16})
    with pytest.raises(UsageError, match="images of one size"):
        extract(photos, model=model, output=str(out), layout="stacked")


def test_images_of_mixed_sizes_are_batched_by_shape(tmp_path, out):
    model = make_model(tmp_path / "model", do_resize=False)
    for i in range(40):
        Image.fromarray(random_image(i, (16, 16) if i % 3 else (16, 24))).save(tmp_path / f"{i:02}.png")
    engine = StubEngine(["stage2"])
    extract(tmp_path, model=model, output=str(out), batch_size=4, engine=engine)
    assert sum(engine.batches) == 40
    assert sum(size == 4 for size in engine.batches) >= 7
    lines = read_index(out)
    assert [line["name"] for line in lines] == [f"{i:02}" for i in range(40)]
    assert [line["outputs"]["stage2"]["shape"] for line in lines[:2]] == [[8, 4, 6], [8, 4, 4]]


def test_engine_may_return_results_lazily(model, photos, tmp_path):
    class LazyEngine(StubEngine):
        def __call__(self, pixels):
            yield from super().__call__(pixels)

    for name, engine in (("eager", StubEngine(["stage2"])), ("lazy", LazyEngine(["stage2"]))):
        extract(photos, model=model, output=str(tmp_path / name), batch_size=3, engine=engine)
    assert tree(tmp_path / "lazy") == tree(tmp_path / "eager")


def test_settings_are_recorded_in_the_folder(model, photos, out):
    extract(photos, model=model, output=str(out), out_features=("stem",), save_dtype="float16")
    settings = json.loads((out / "backbone.json").read_text())
    assert settings["stages"] == [{"index": 0, "name": "stem", "channels": 4, "stride": 2}]
    assert settings["revision"].startswith("files:") and settings["revision"].endswith("+random:0")
    expected = {"dtype": "float32", "save_dtype": "float16", "pool": "none", "layout": "files"}
    assert expected.items() <= settings.items()
    assert settings["preprocessing"]["size"] == {"height": 16, "width": 16}
    assert set(settings["versions"]) == {"backbone-cli", "torch", "numpy", "pillow"}


def test_images_in_a_tar(model, photos, tmp_path, out):
    with tarfile.open(tmp_path / "t.tar", "w") as tar:
        tar.add(f"{photos}/a/0000.png", "x/1.png")
        tar.add(f"{photos}/b/0001.png", "../../out.png")
        tar.add(f"{photos}/b/0001.png", "x/1.jpg")
    events = extract(tmp_path / "t.tar", model=model, output=str(out))
    assert [event.status for event in events] == ["done", "failed", "failed"]
    assert np.array_equal(np.load(out / "x/1.stage2.npy"), stub_maps(processed(f"{photos}/a/0000.png"))["stage2"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "t.tar"]


def test_writing_to_stdout(model, photos, monkeypatch):
    stdout = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr("sys.stdout", stdout)
    extract(f"{photos}/a/0000.png", model=model, output="-")
    written = np.load(io.BytesIO(stdout.buffer.getvalue()))
    assert np.array_equal(written, stub_maps(processed(f"{photos}/a/0000.png"))["stage2"])
    with pytest.raises(UsageError, match="there are 10"):
        extract(photos, model=model, output="-")
    with pytest.raises(UsageError, match="one npy array"):
        extract(f"{photos}/a/0000.png", model=model, output="-", out_indices=("all",))


# --- what goes wrong --------------------------------------------------------------------------------------------


def test_full_disk_stops_the_run(model, photos, out, monkeypatch):
    extract(f"{photos}/a", model=model, output=str(out), root=photos)
    before = tree(out)

    def write_half(file, array, dtype):
        file.write(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(sinks, "write_npy", write_half)
        with pytest.raises(OutputError, match="Free some space and run the same command again"):
            extract(photos, model=model, output=str(out), batch_size=2)
    assert tree(out) == before
    extract(photos, model=model, output=str(out))
    assert len(read_index(out)) == 10


def test_disk_full_while_writing_the_index(model, photos, out, monkeypatch):
    write = os.write

    def write_partly(descriptor, data):
        write(descriptor, bytes(data)[:30])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write_partly)
        with pytest.raises(OutputError, match="No space"):
            extract(photos, model=model, output=str(out))
    assert (out / "index.jsonl").read_bytes() == b""
    extract(photos, model=model, output=str(out))
    assert len(read_index(out)) == 10


def test_run_that_does_not_fit_on_the_disk_is_refused(model, photos, out, monkeypatch):
    monkeypatch.setattr(prepare, "free_space", lambda folder: 1000)
    with pytest.raises(OutputError, match=r"10 images take 5\.1 kB, but '.*' has 1\.0 kB left"):
        extract(photos, model=model, output=str(out))
    assert not out.exists()


@pytest.mark.parametrize("output", ["file", "file/below"])
def test_output_that_is_a_file_is_an_error(output, model, photos, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="can't be written"):
        extract(photos, model=model, output=str(tmp_path / output))


def test_too_long_name_fails_only_its_image(model, tmp_path, out):
    Image.fromarray(random_image(0)).save(tmp_path / f"{'x' * 250}.png")
    Image.fromarray(random_image(0)).save(tmp_path / "y.png")
    events = extract(tmp_path, model=model, output=str(out))
    assert [event.status for event in events] == ["failed", "done"]
    assert "File name too long" in events[0].error


def test_on_error_stop_ends_at_the_first_failure(model, tmp_path, out):
    photos = Path(make_photos(tmp_path / "in", 90))
    (photos / "a/0003.png").write_bytes(b"not an image")
    events = extract(photos, model=model, output=str(out), on_error="stop", batch_size=2)
    assert [event.status for event in events].count("failed") == 1
    assert len(events) == len(read_index(out)) < 20
    shutil.copy(photos / "b/0001.png", photos / "a/0003.png")
    extract(photos, model=model, output=str(out), batch_size=2)
    extract(photos, model=model, output=f"{out}-uninterrupted", batch_size=2)
    assert tree(out) == tree(f"{out}-uninterrupted")


def test_closing_the_events_stops_the_run(model, photos, out):
    job = prepare.prepare(
        Request(inputs=(photos,), model=model, output=str(out), random_init=True, workers=0, batch_size=1)
    )
    events = run(job, lambda: StubEngine(job.stages))
    for _ in range(4):
        next(events)
    events.close()
    assert 3 <= len(read_index(out)) < 10
    extract(photos, model=model, output=str(out), batch_size=1)
    assert len(read_index(out)) == 10


def test_errors_of_the_engine_fail_only_their_images(model, photos, out):
    class OverflowingEngine(StubEngine):
        def __call__(self, images):
            return [
                ImageError("Its stage2 overflows.") if i == 1 else maps
                for i, maps in enumerate(super().__call__(images))
            ]

    events = extract(photos, model=model, output=str(out), engine=OverflowingEngine(["stage2"]), batch_size=5)
    assert [event.status for event in events].count("failed") == 2
    assert read_index(out)[1]["error"] == "Its stage2 overflows."


def test_folder_without_images_is_refused(model, tmp_path, out):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UsageError, match=r"no images in '.*' \(1 files without an image extension"):
        extract(tmp_path, model=model, output=str(out))


def test_empty_list_is_refused(model, out, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO()))
    with pytest.raises(UsageError, match="There are no images"):
        extract("-", model=model, output=str(out))
    assert not out.exists()
