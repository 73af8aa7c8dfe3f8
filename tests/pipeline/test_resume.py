"""Several runs in one folder: resuming, changed settings, shards, and runs at the same time."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from backbone_cli.errors import OutputRefused
from backbone_cli.output.index import index_files, read_lines
from backbone_cli.output.records import Finished
from backbone_cli.pipeline import prepare
from backbone_cli.pipeline.request import Request
from backbone_cli.pipeline.run import run

from .stub import StubEngine, extract, make_model, make_photos, processed, read_index, statuses, stub_maps, tree

# --- resuming ---------------------------------------------------------------------------------------------------


def test_second_run_does_nothing(model, photos, out):
    extract(photos, model=model, output=str(out))
    before = file_states(out)
    engine = StubEngine(["stage2"])
    assert set(statuses(extract(photos, model=model, output=str(out), engine=engine)).values()) == {"skipped"}
    assert engine.batches == []
    assert file_states(out) == before


def file_states(folder: Path) -> dict[Path, tuple[int, int, int]]:
    """What writing changes of each file below a folder, and reading does not."""
    stats = {path: path.stat() for path in folder.rglob("*")}
    return {path: (stat.st_ino, stat.st_size, stat.st_mtime_ns) for path, stat in stats.items()}


def test_missing_and_damaged_files_are_written_again(model, photos, out):
    extract(photos, model=model, output=str(out), out_indices=("all",), batch_size=2)
    before = tree(out)
    (out / "a/0000.stem.npy").unlink()
    (out / "b/0001.stage1.npy").write_bytes(before["b/0001.stage1.npy"][:-10])
    (out / "c/0002.stage2.npy").write_bytes(b"\0" * len(before["c/0002.stage2.npy"]))
    events = extract(photos, model=model, output=str(out), out_indices=("all",), batch_size=2)
    assert {event.name for event in events if event.status == "done"} == {"a/0000", "b/0001", "c/0002"}
    assert tree(out) == before


def test_torn_index_is_repaired(model, photos, out):
    extract(photos, model=model, output=str(out))
    before = tree(out)
    text = before["index.jsonl"]
    lines = text.splitlines(keepends=True)
    for torn in (text[:-20], text[:-1], b"".join(lines[:3]), b"", lines[0] + b"{}\nnonsense\n" + b"".join(lines[1:])):
        (out / "index.jsonl").write_bytes(torn)
        extract(photos, model=model, output=str(out))
        assert tree(out) == before


def test_failed_images_are_retried(model, tmp_path, out):
    photos = Path(make_photos(tmp_path / "in", 4))
    image = (photos / "b/0001.png").read_bytes()
    (photos / "b/0001.png").write_bytes(image[:100])
    assert statuses(extract(photos, model=model, output=str(out)))["b/0001"] == "failed"
    line = read_index(out)[2]
    assert (line["status"], line["outputs"]) == ("failed", {}) and "b/0001.png" in line["error"]
    before = tree(out)
    engine = StubEngine(["stage2"])
    extract(photos, model=model, output=str(out), engine=engine)
    assert tree(out) == before and engine.batches == []
    (photos / "b/0001.png").write_bytes(image)
    assert statuses(extract(photos, model=model, output=str(out))) == {
        "a/0000": "skipped",
        "a/0003": "skipped",
        "b/0001": "done",
        "c/0002": "skipped",
    }
    assert [line["status"] for line in read_index(out)] == ["done"] * 4


def test_changed_image_is_done_again(model, tmp_path, out):
    photos = Path(make_photos(tmp_path / "in", 2))
    extract(photos, model=model, output=str(out))
    shutil.copy(photos / "b/0001.png", photos / "a/0000.png")
    now = time.time()
    os.utime(photos / "a/0000.png", (now - 10, now - 10))
    os.utime(out / "a/0000.stage2.npy", (now - 20, now - 20))
    assert statuses(extract(photos, model=model, output=str(out))) == {"a/0000": "done", "b/0001": "skipped"}
    arrays = [np.load(out / name) for name in ("a/0000.stage2.npy", "b/0001.stage2.npy")]
    assert np.array_equal(*arrays)


def test_image_with_a_future_timestamp_is_done_once(model, tmp_path, out):
    photos = Path(make_photos(tmp_path / "in", 2))
    os.utime(photos / "a/0000.png", (2**32, 2**32))
    extract(photos, model=model, output=str(out))
    assert set(statuses(extract(photos, model=model, output=str(out))).values()) == {"skipped"}


def test_index_keeps_lines_of_earlier_inputs(model, photos, tmp_path, out):
    extract(f"{photos}/b", model=model, output=str(out), root=photos)
    extract(f"{photos}/a", model=model, output=str(out), root=photos)
    assert [line["name"][0] for line in read_index(out)] == list("bbbaaaa")
    before = tree(out)
    extract(f"{photos}/b", model=model, output=str(out), root=photos)
    assert tree(out) == before


def test_name_of_an_earlier_input_is_refused(model, tmp_path, out):
    one, two = make_photos(tmp_path / "1", 3), make_photos(tmp_path / "2", 3, (30, 30))
    extract(one, model=model, output=str(out))
    before = {name: data for name, data in tree(out).items() if name != "index.jsonl"}
    events = extract(two, model=model, output=str(out))
    assert {event.status for event in events} == {"failed"}
    assert f"'{one}/a/0000.png'" in events[0].error
    assert {name: data for name, data in tree(out).items() if name != "index.jsonl"} == before


def test_companions_are_recomputed_but_not_rewritten(model, photos, out):
    extract(photos, model=model, output=str(out), batch_size=5)
    (out / "a/0003.stage2.npy").unlink()
    engine = StubEngine(["stage2"])
    events = extract(photos, model=model, output=str(out), batch_size=5, engine=engine)
    assert engine.batches == [5]
    assert [event.status for event in events].count("done") == 1


def test_unreadable_companions_stay_done(model, tmp_path, out):
    photos = Path(make_photos(tmp_path / "in", 3))
    extract(photos, model=model, output=str(out))
    (out / "a/0000.stage2.npy").unlink()
    (photos / "b/0001.png").write_bytes(b"not an image")
    os.utime(photos / "b/0001.png", (0, 0))
    assert statuses(extract(photos, model=model, output=str(out))) == {
        "a/0000": "done",
        "b/0001": "skipped",
        "c/0002": "skipped",
    }
    assert [line["status"] for line in read_index(out)] == ["done"] * 3


# --- other settings and other files -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "difference"),
    [
        ({"save_dtype": "float16"}, "save_dtype is float32 there and float16 now"),
        ({"out_indices": ("0",)}, "stages is stage2 there and stem now"),
        ({"image_size": (8, 8)}, "preprocessing: size: height is 16 there and 8 now"),
        ({"seed": 1}, "revision is files:"),
        ({"layout": "stacked"}, "layout is files there and stacked now"),
    ],
)
def test_different_settings_are_refused(option, difference, model, photos, out):
    extract(photos, model=model, output=str(out))
    before = tree(out)
    with pytest.raises(OutputRefused) as caught:
        extract(photos, model=model, output=str(out), **option)
    assert difference in str(caught.value) and "--overwrite" in str(caught.value)
    assert tree(out) == before
    extract(photos, model=model, output=str(out), overwrite=True, **option)
    extract(photos, model=model, output=f"{out}-new", **option)
    assert tree(out) == tree(f"{out}-new")


def test_revision_changes_with_the_weights(tmp_path, photos, out):
    model = make_model(tmp_path / "model")
    (tmp_path / "model/model.safetensors").write_bytes(bytes(100_000))
    request = {"model": model, "output": str(out), "inputs": (photos,), "workers": 0}
    revision = prepare.prepare(Request(**request)).settings["revision"]
    data = bytearray(100_000)
    data[50_000:60_000] = b"\1" * 10_000
    (tmp_path / "model/model.safetensors").write_bytes(data)
    assert prepare.prepare(Request(**request)).settings["revision"] != revision


def test_overwrite_keeps_files_it_did_not_write(model, photos, out):
    extract(photos, model=model, output=str(out))
    (out / "notes.txt").write_text("mine")
    (out / "a/mine.npy").write_text("mine")
    extract(photos, model=model, output=str(out), format="safetensors", overwrite=True)
    assert [name for name in tree(out) if name.endswith((".npy", ".txt"))] == ["a/mine.npy", "notes.txt"]


def test_overwrite_does_not_remove_files_outside_the_folder(model, photos, tmp_path, out):
    extract(photos, model=model, output=str(out))
    (tmp_path / "precious").write_text("mine")
    lines = read_index(out)
    lines[0]["outputs"]["stage2"]["file"] = "../precious"
    (out / "index.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    extract(photos, model=model, output=str(out), seed=1, overwrite=True)
    assert (tmp_path / "precious").exists()


def test_existing_files_of_other_origin_are_kept(model, photos, out):
    (out / "a").mkdir(parents=True)
    (out / "a/0000.stage2.npy").write_text("mine")
    for _ in range(2):
        extract(photos, model=model, output=str(out))
        assert (out / "a/0000.stage2.npy").read_text() == "mine"


def test_link_out_of_the_folder_is_not_followed(model, photos, tmp_path, out):
    out.mkdir()
    (tmp_path / "elsewhere").mkdir()
    (out / "a").symlink_to(tmp_path / "elsewhere")
    events = extract(photos, model=model, output=str(out))
    assert {event.name[0]: event.status for event in events} == {"a": "failed", "b": "done", "c": "done"}
    assert not list((tmp_path / "elsewhere").iterdir())


# --- shards, and runs at the same time --------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["files", "stacked"])
def test_shards_together_cover_all_images(layout, model, photos, out):
    for i in (3, 1, 2):
        extract(photos, model=model, output=str(out), shard=(i, 3), layout=layout)
    lines = [line for path in index_files(out) for line in read_lines(path)]
    assert sorted(path.name for path in index_files(out)) == [f"index.{i}-of-3.jsonl" for i in (1, 2, 3)]
    assert len({line["source"] for line in lines}) == len(lines) == 10
    for line in lines:
        output = line["outputs"]["stage2"]
        array = np.load(out / output["file"])
        array = array if layout == "files" else array[output["row"]]
        assert np.array_equal(array, stub_maps(processed(line["source"]))["stage2"])
    before = tree(out)
    extract(photos, model=model, output=str(out), shard=(2, 3), layout=layout)
    assert tree(out) == before


def test_unsharded_run_skips_what_a_shard_did(model, photos, out):
    extract(photos, model=model, output=str(out), shard=(1, 2))
    events = extract(photos, model=model, output=str(out))
    assert [status for _, status in sorted(statuses(events).items())] == ["skipped", "done"] * 5


def test_folder_in_use_is_refused(model, photos, out):
    extract(photos, model=model, output=str(out), shard=(1, 2))

    def other_runs():
        for options in ({}, {"pool": "mean", "overwrite": True}, {"layout": "stacked", "overwrite": True}):
            with pytest.raises(OutputRefused, match="Another run is writing"):
                extract(photos, model=model, output=str(out), **options)

    assert extract(photos, model=model, output=str(out), engine=EngineWithCallback(["stage2"], other_runs))
    assert set(tree(out)) == {"backbone.json", "index.jsonl", "index.1-of-2.jsonl", *output_files(photos)}


class EngineWithCallback(StubEngine):
    """Calls a function during its first batch."""

    def __init__(self, stages, callback):
        super().__init__(stages)
        self.callback = callback

    def __call__(self, images):
        if not self.batches:
            self.callback()
        return super().__call__(images)


def output_files(photos) -> set[str]:
    return {str(path.relative_to(photos).with_suffix(".stage2.npy")) for path in Path(photos).rglob("*.png")}


def test_run_with_nothing_to_do_leaves_the_index_alone(model, photos, out):
    pair = [f"{photos}/a/0003.png", f"{photos}/a/0000.png"]
    extract(*pair, model=model, output=str(out), root=photos)

    def other_run():
        events = extract(*reversed(pair), model=model, output=str(out), root=photos)
        assert {event.status for event in events} == {"skipped"}

    extract(photos, model=model, output=str(out), engine=EngineWithCallback(["stage2"], other_run))
    assert [line["source"] for line in read_index(out)] == sorted(map(str, Path(photos).rglob("*.png")))


def test_second_run_with_the_same_settings_finishes_first(model, photos, out):
    """The second run starts after the first has looked at the folder, and ends before the first writes."""
    job = prepare.prepare(Request(inputs=(photos,), model=model, output=str(out), random_init=True, workers=0))

    def load():
        extract(photos, model=model, output=str(out))
        return StubEngine(job.stages)

    events = [event for event in run(job, load) if isinstance(event, Finished)]
    assert "failed" not in {event.status for event in events}
    assert [line["status"] for line in read_index(out)] == ["done"] * 10


@pytest.mark.parametrize(
    "outputs",
    ['{"stage2": 5}', '{"stage2": {"file": "a\\u0000b"}}', '{"stage2": {"file": "\\ud800"}}', '{"stage2": {}}', "5"],
)
def test_invalid_lines_in_the_index_are_skipped(model, photos, out, outputs):
    extract(photos, model=model, output=str(out))
    before = tree(out)
    with (out / "index.jsonl").open("a") as file:
        file.write(f'{{"source": "{photos}/a/0000.png", "name": "a/0000", "status": "done", "outputs": {outputs}}}\n')
    extract(photos, model=model, output=str(out))
    assert tree(out) == before
    assert extract(photos, model=model, output=str(out), pool="mean", overwrite=True)
