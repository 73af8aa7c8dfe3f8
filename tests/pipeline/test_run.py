"""Whole runs over real files, with a stub for the model: what is written, skipped, refused and resumed."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backbone_cli.errors import ImageError, OutputError, OutputRefused, UsageError
from backbone_cli.output import folder, sinks
from backbone_cli.output.records import Finished
from backbone_cli.pipeline import prepare
from backbone_cli.pipeline.request import Request
from backbone_cli.pipeline.run import run

from .stub import STAGES, Engine, extract, index, make_model, make_photos, maps_of, picture, tree


def statuses(events) -> dict[str, str]:
    return {event.name: event.status for event in events}


def pixels(path) -> np.ndarray:
    return np.array(Image.open(path).convert("RGB").resize((16, 16), Image.Resampling.BILINEAR))


# --- what is written --------------------------------------------------------------------------------------------


def test_files(model, photos, out):
    events = extract(photos, model=model, output=str(out), out_indices=("0,2",))
    assert [event.status for event in events] == ["done"] * 10
    lines = index(out)
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
        expected = maps_of(pixels(line["source"]), ("stem", "stage2"))
        for stage, about in line["outputs"].items():
            assert np.array_equal(np.load(out / about["file"]), expected[stage])
    assert len(tree(out)) == 2 + 20


def test_safetensors(model, photos, out):
    from safetensors.numpy import load_file

    extract(photos, model=model, output=str(out), format="safetensors", out_indices=("all",))
    line = index(out)[4]
    held = load_file(out / line["outputs"]["stem"]["file"])
    expected = maps_of(pixels(line["source"]))
    assert set(held) == set(STAGES)
    assert all(np.array_equal(held[stage], expected[stage]) for stage in STAGES)


@pytest.mark.parametrize("form", ["npy", "safetensors"])
def test_stacks(form, model, photos, out):
    from safetensors.numpy import load_file

    events = extract(photos, model=model, output=str(out), layout="stacked", format=form, out_indices=("all",))
    lines = index(out)
    if form == "npy":
        held = {stage: np.load(out / f"{stage}.npy", mmap_mode="r") for stage in STAGES}
    else:
        held = load_file(out / "features.safetensors")
    assert held["stage2"].shape == (10, 8, 4, 4)
    assert [line["outputs"]["stem"]["row"] for line in lines] == list(range(10))
    for row, line in enumerate(lines):
        expected = maps_of(pixels(line["source"]))
        assert all(np.array_equal(held[stage][row], expected[stage]) for stage in STAGES)
    assert len(tree(out)) == (5 if form == "npy" else 3)
    assert statuses(events) == {line["name"]: "done" for line in lines}


def test_a_failed_image_has_a_row_of_nan(model, tmp_path, out):
    photos = Path(make_photos(tmp_path / "in", 5))
    (photos / "a/0000.png").write_bytes(b"no image")
    (photos / "b/0001.png").write_bytes(b"")
    extract(photos, model=model, output=str(out), layout="stacked", batch_size=2)
    held = np.load(out / "stage2.npy")
    assert np.isnan(held).all((1, 2, 3)).tolist() == [True, False, True, False, False]
    lines = index(out)
    assert [line["row"] for line in lines if line["status"] == "failed"] == [0, 2]
    shutil.copy(photos / "c/0002.png", photos / "a/0000.png")
    extract(photos, model=model, output=str(out), layout="stacked", batch_size=2)
    held = np.load(out / "stage2.npy")
    assert np.isnan(held).all((1, 2, 3)).tolist() == [False, False, True, False, False]


def test_a_stack_opens_again_for_a_long_list(model, tmp_path, out):
    photos = Path(make_photos(tmp_path / "in", 40))
    whole = (photos / "a/0000.png").read_bytes()
    (photos / "a/0000.png").write_bytes(b"no image")
    extract(photos, model=model, output=str(out), layout="stacked", batch_size=2)
    (photos / "a/0000.png").write_bytes(whole)
    events = extract(photos, model=model, output=str(out), layout="stacked", batch_size=2)
    assert [event.status for event in events].count("skipped") == 39
    extract(photos, model=model, output=f"{out}-2", layout="stacked", batch_size=2)
    assert tree(out) == tree(f"{out}-2")


def test_stacked_and_all_failed(model, tmp_path, out):
    (tmp_path / "a.png").write_bytes(b"no image")
    assert statuses(extract(tmp_path / "a.png", model=model, output=str(out), layout="stacked")) == {"a": "failed"}
    assert sorted(tree(out)) == ["backbone.json", "index.jsonl"]


def test_a_stack_of_unequal_maps_is_refused(tmp_path, photos, out):
    model = make_model(tmp_path / "model", size={"shortest_edge": 16})
    with pytest.raises(UsageError, match="images of one size"):
        extract(photos, model=model, output=str(out), layout="stacked")


def test_mixed_sizes(tmp_path, out):
    model = make_model(tmp_path / "model", do_resize=False)
    for i in range(40):
        Image.fromarray(picture(i, (16, 16) if i % 3 else (16, 24))).save(tmp_path / f"{i:02}.png")
    engine = Engine(["stage2"])
    extract(tmp_path, model=model, output=str(out), batch_size=4, engine=engine)
    assert sum(engine.batches) == 40
    assert sum(size == 4 for size in engine.batches) >= 7
    lines = index(out)
    assert [line["name"] for line in lines] == [f"{i:02}" for i in range(40)]
    assert [line["outputs"]["stage2"]["shape"] for line in lines[:2]] == [[8, 4, 6], [8, 4, 4]]


def test_an_engine_may_still_be_at_it_when_it_returns(model, photos, tmp_path):
    class Later(Engine):
        def __call__(self, pixels):
            yield from super().__call__(pixels)

    for name, engine in (("now", Engine(["stage2"])), ("later", Later(["stage2"]))):
        extract(photos, model=model, output=str(tmp_path / name), batch_size=3, engine=engine)
    assert tree(tmp_path / "later") == tree(tmp_path / "now")


def test_the_folder_says_what_the_run_was(model, photos, out):
    extract(photos, model=model, output=str(out), out_features=("stem",), save_dtype="float16")
    said = json.loads((out / "backbone.json").read_text())
    assert said["stages"] == [{"index": 0, "name": "stem", "channels": 4, "stride": 2}]
    assert said["revision"].startswith("files:") and said["revision"].endswith("+random:0")
    assert (said["dtype"], said["save_dtype"], said["pool"], said["layout"]) == ("float32", "float16", "none", "files")
    assert said["preprocessing"]["size"] == {"height": 16, "width": 16}
    assert set(said["versions"]) == {"backbone-cli", "torch", "numpy", "pillow"}


def test_a_tar(model, photos, tmp_path, out):
    with tarfile.open(tmp_path / "t.tar", "w") as tar:
        tar.add(f"{photos}/a/0000.png", "x/1.png")
        tar.add(f"{photos}/b/0001.png", "../../out.png")
        tar.add(f"{photos}/b/0001.png", "x/1.jpg")
    events = extract(tmp_path / "t.tar", model=model, output=str(out))
    assert [event.status for event in events] == ["done", "failed", "failed"]
    assert np.array_equal(np.load(out / "x/1.stage2.npy"), maps_of(pixels(f"{photos}/a/0000.png"))["stage2"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "t.tar"]


def test_to_stdout(model, photos, monkeypatch):
    stdout = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr("sys.stdout", stdout)
    extract(f"{photos}/a/0000.png", model=model, output="-")
    written = np.load(io.BytesIO(stdout.buffer.getvalue()))
    assert np.array_equal(written, maps_of(pixels(f"{photos}/a/0000.png"))["stage2"])
    with pytest.raises(UsageError, match="there are 10"):
        extract(photos, model=model, output="-")
    with pytest.raises(UsageError, match="one npy array"):
        extract(f"{photos}/a/0000.png", model=model, output="-", out_indices=("all",))


# --- resuming ---------------------------------------------------------------------------------------------------


def test_a_second_run_does_nothing(model, photos, out):
    extract(photos, model=model, output=str(out))
    before = state(out)
    engine = Engine(["stage2"])
    assert set(statuses(extract(photos, model=model, output=str(out), engine=engine)).values()) == {"skipped"}
    assert engine.batches == []
    assert state(out) == before


def state(folder: Path) -> dict[Path, tuple[int, int, int]]:
    """What writing would change of the files below a folder; reading does not."""
    stats = {path: path.stat() for path in folder.rglob("*")}
    return {path: (stat.st_ino, stat.st_size, stat.st_mtime_ns) for path, stat in stats.items()}


def test_what_is_missing_or_torn_is_done_again(model, photos, out):
    extract(photos, model=model, output=str(out), out_indices=("all",), batch_size=2)
    whole = tree(out)
    (out / "a/0000.stem.npy").unlink()
    (out / "b/0001.stage1.npy").write_bytes(whole["b/0001.stage1.npy"][:-10])
    (out / "c/0002.stage2.npy").write_bytes(b"\0" * len(whole["c/0002.stage2.npy"]))
    events = extract(photos, model=model, output=str(out), out_indices=("all",), batch_size=2)
    assert {event.name for event in events if event.status == "done"} == {"a/0000", "b/0001", "c/0002"}
    assert tree(out) == whole


def test_a_torn_index(model, photos, out):
    extract(photos, model=model, output=str(out))
    whole = tree(out)
    text = whole["index.jsonl"]
    lines = text.splitlines(keepends=True)
    for torn in (text[:-20], text[:-1], b"".join(lines[:3]), b"", lines[0] + b"{}\nnonsense\n" + b"".join(lines[1:])):
        (out / "index.jsonl").write_bytes(torn)
        extract(photos, model=model, output=str(out))
        assert tree(out) == whole


def test_failed_images_are_tried_again(model, tmp_path, out):
    photos = Path(make_photos(tmp_path / "in", 4))
    whole = (photos / "b/0001.png").read_bytes()
    (photos / "b/0001.png").write_bytes(whole[:100])
    assert statuses(extract(photos, model=model, output=str(out)))["b/0001"] == "failed"
    line = index(out)[2]
    assert (line["status"], line["outputs"]) == ("failed", {}) and "b/0001.png" in line["error"]
    before = tree(out)
    engine = Engine(["stage2"])
    extract(photos, model=model, output=str(out), engine=engine)
    assert tree(out) == before and engine.batches == []
    (photos / "b/0001.png").write_bytes(whole)
    assert statuses(extract(photos, model=model, output=str(out))) == {
        "a/0000": "skipped",
        "a/0003": "skipped",
        "b/0001": "done",
        "c/0002": "skipped",
    }
    assert [line["status"] for line in index(out)] == ["done"] * 4


def test_an_image_that_changed_is_done_again(model, tmp_path, out):
    photos = Path(make_photos(tmp_path / "in", 2))
    extract(photos, model=model, output=str(out))
    shutil.copy(photos / "b/0001.png", photos / "a/0000.png")
    now = time.time()
    os.utime(photos / "a/0000.png", (now - 10, now - 10))
    os.utime(out / "a/0000.stage2.npy", (now - 20, now - 20))
    assert statuses(extract(photos, model=model, output=str(out))) == {"a/0000": "done", "b/0001": "skipped"}
    held = [np.load(out / name) for name in ("a/0000.stage2.npy", "b/0001.stage2.npy")]
    assert np.array_equal(*held)


def test_an_image_from_the_future_is_not_done_for_ever(model, tmp_path, out):
    photos = Path(make_photos(tmp_path / "in", 2))
    os.utime(photos / "a/0000.png", (2**32, 2**32))
    extract(photos, model=model, output=str(out))
    assert set(statuses(extract(photos, model=model, output=str(out))).values()) == {"skipped"}


def test_more_inputs_go_in_their_places(model, photos, tmp_path, out):
    extract(f"{photos}/b", model=model, output=str(out), root=photos)
    extract(f"{photos}/a", model=model, output=str(out), root=photos)
    assert [line["name"][0] for line in index(out)] == list("bbbaaaa")
    before = tree(out)
    extract(f"{photos}/b", model=model, output=str(out), root=photos)
    assert tree(out) == before


def test_a_name_that_another_input_has_is_refused(model, tmp_path, out):
    one, two = make_photos(tmp_path / "1", 3), make_photos(tmp_path / "2", 3, (30, 30))
    extract(one, model=model, output=str(out))
    before = {name: data for name, data in tree(out).items() if name != "index.jsonl"}
    events = extract(two, model=model, output=str(out))
    assert {event.status for event in events} == {"failed"}
    assert f"'{one}/a/0000.png'" in events[0].error
    assert {name: data for name, data in tree(out).items() if name != "index.jsonl"} == before


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ({"save_dtype": "float16"}, "save_dtype is float32 there and float16 now"),
        ({"out_indices": ("0",)}, "stages is stage2 there and stem now"),
        ({"image_size": (8, 8)}, "preprocessing: size: height is 16 there and 8 now"),
        ({"seed": 1}, "revision is files:"),
        ({"layout": "stacked"}, "layout is files there and stacked now"),
    ],
)
def test_other_settings_are_refused(option, said, model, photos, out):
    extract(photos, model=model, output=str(out))
    before = tree(out)
    with pytest.raises(OutputRefused) as caught:
        extract(photos, model=model, output=str(out), **option)
    assert said in str(caught.value) and "--overwrite" in str(caught.value)
    assert tree(out) == before
    extract(photos, model=model, output=str(out), overwrite=True, **option)
    extract(photos, model=model, output=f"{out}-anew", **option)
    assert tree(out) == tree(f"{out}-anew")


def test_other_weights_of_the_same_name_are_refused(tmp_path, photos, out):
    model = make_model(tmp_path / "model")
    (tmp_path / "model/model.safetensors").write_bytes(bytes(100_000))
    request = {"model": model, "output": str(out), "inputs": (photos,), "workers": 0}
    revision = prepare.prepare(Request(**request)).settings["revision"]
    data = bytearray(100_000)
    data[50_000:60_000] = b"\1" * 10_000
    (tmp_path / "model/model.safetensors").write_bytes(data)
    assert prepare.prepare(Request(**request)).settings["revision"] != revision


def test_overwriting_leaves_what_it_did_not_write(model, photos, out):
    extract(photos, model=model, output=str(out))
    (out / "notes.txt").write_text("mine")
    (out / "a/mine.npy").write_text("mine")
    extract(photos, model=model, output=str(out), format="safetensors", overwrite=True)
    assert [name for name in tree(out) if name.endswith((".npy", ".txt"))] == ["a/mine.npy", "notes.txt"]


def test_an_index_that_lists_files_outside_is_not_followed(model, photos, tmp_path, out):
    extract(photos, model=model, output=str(out))
    (tmp_path / "precious").write_text("mine")
    lines = index(out)
    lines[0]["outputs"]["stage2"]["file"] = "../precious"
    (out / "index.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    extract(photos, model=model, output=str(out), seed=1, overwrite=True)
    assert (tmp_path / "precious").exists()


def test_files_that_others_put_there_stay(model, photos, out):
    (out / "a").mkdir(parents=True)
    (out / "a/0000.stage2.npy").write_text("mine")
    for _ in range(2):
        extract(photos, model=model, output=str(out))
        assert (out / "a/0000.stage2.npy").read_text() == "mine"


def test_a_link_out_of_the_folder_is_not_followed(model, photos, tmp_path, out):
    out.mkdir()
    (tmp_path / "elsewhere").mkdir()
    (out / "a").symlink_to(tmp_path / "elsewhere")
    events = extract(photos, model=model, output=str(out))
    assert {event.name[0]: event.status for event in events} == {"a": "failed", "b": "done", "c": "done"}
    assert not list((tmp_path / "elsewhere").iterdir())


# --- shards -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["files", "stacked"])
def test_shards(layout, model, photos, out):
    for i in (3, 1, 2):
        extract(photos, model=model, output=str(out), shard=(i, 3), layout=layout)
    lines = [line for path in folder.index_files(out) for line in folder.read_lines(path)]
    assert sorted(path.name for path in folder.index_files(out)) == [f"index.{i}-of-3.jsonl" for i in (1, 2, 3)]
    assert len({line["source"] for line in lines}) == len(lines) == 10
    for line in lines:
        about = line["outputs"]["stage2"]
        held = np.load(out / about["file"])
        held = held if layout == "files" else held[about["row"]]
        assert np.array_equal(held, maps_of(pixels(line["source"]))["stage2"])
    before = tree(out)
    extract(photos, model=model, output=str(out), shard=(2, 3), layout=layout)
    assert tree(out) == before


def test_a_run_over_what_shards_did(model, photos, out):
    extract(photos, model=model, output=str(out), shard=(1, 2))
    events = extract(photos, model=model, output=str(out))
    assert [status for _, status in sorted(statuses(events).items())] == ["skipped", "done"] * 5


def test_two_runs_at_once(model, photos, out):
    extract(photos, model=model, output=str(out), shard=(1, 2))

    def other_runs():
        for how in ({}, {"pool": "mean", "overwrite": True}, {"layout": "stacked", "overwrite": True}):
            with pytest.raises(OutputRefused, match="Another run is writing"):
                extract(photos, model=model, output=str(out), **how)

    assert extract(photos, model=model, output=str(out), engine=Meanwhile(["stage2"], other_runs))
    assert set(tree(out)) == {"backbone.json", "index.jsonl", "index.1-of-2.jsonl", *arrays_of(photos)}


class Meanwhile(Engine):
    """Something happens when the run has begun."""

    def __init__(self, stages, event):
        super().__init__(stages)
        self.event = event

    def __call__(self, images):
        if not self.batches:
            self.event()
        return super().__call__(images)


def arrays_of(photos) -> set[str]:
    return {str(path.relative_to(photos).with_suffix(".stage2.npy")) for path in Path(photos).rglob("*.png")}


def test_a_run_with_nothing_to_do_leaves_the_index_of_another_alone(model, photos, out):
    two = [f"{photos}/a/0003.png", f"{photos}/a/0000.png"]
    extract(*two, model=model, output=str(out), root=photos)

    def other_run():
        assert set(statuses(extract(*reversed(two), model=model, output=str(out), root=photos)).values()) == {"skipped"}

    extract(photos, model=model, output=str(out), engine=Meanwhile(["stage2"], other_run))
    assert [line["source"] for line in index(out)] == sorted(map(str, Path(photos).rglob("*.png")))


def test_the_same_run_may_be_faster(model, photos, out):
    """It begins when this one has looked, and ends before this one writes."""
    job = prepare.prepare(Request(inputs=(photos,), model=model, output=str(out), random_init=True, workers=0))

    def load():
        extract(photos, model=model, output=str(out))
        return Engine(job.stages)

    events = [event for event in run(job, load) if isinstance(event, Finished)]
    assert "failed" not in {event.status for event in events}
    assert [line["status"] for line in index(out)] == ["done"] * 10


@pytest.mark.parametrize(
    "outputs",
    ['{"stage2": 5}', '{"stage2": {"file": "a\\u0000b"}}', '{"stage2": {"file": "\\ud800"}}', '{"stage2": {}}', "5"],
)
def test_lines_that_no_run_writes_are_passed_over(model, photos, out, outputs):
    extract(photos, model=model, output=str(out))
    before = tree(out)
    with (out / "index.jsonl").open("a") as file:
        file.write(f'{{"source": "{photos}/a/0000.png", "name": "a/0000", "status": "done", "outputs": {outputs}}}\n')
    extract(photos, model=model, output=str(out))
    assert tree(out) == before
    assert extract(photos, model=model, output=str(out), pool="mean", overwrite=True)


def test_a_list_without_inputs(model, out, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO()))
    with pytest.raises(UsageError, match="There are no images"):
        extract("-", model=model, output=str(out))
    assert not out.exists()


# --- what goes wrong --------------------------------------------------------------------------------------------


def test_a_full_disk(model, photos, out, monkeypatch):
    extract(f"{photos}/a", model=model, output=str(out), root=photos)
    before = tree(out)

    def full(file, array, dtype):
        file.write(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(sinks, "write_npy", full)
        with pytest.raises(OutputError, match="Free some space and run again"):
            extract(photos, model=model, output=str(out), batch_size=2)
    assert tree(out) == before
    extract(photos, model=model, output=str(out))
    assert len(index(out)) == 10


def test_a_disk_that_is_full_for_the_index(model, photos, out, monkeypatch):
    write = os.write

    def full(descriptor, data):
        write(descriptor, bytes(data)[:30])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(OutputError, match="No space"):
            extract(photos, model=model, output=str(out))
    assert (out / "index.jsonl").read_bytes() == b""
    extract(photos, model=model, output=str(out))
    assert len(index(out)) == 10


def test_a_run_that_cannot_fit(model, photos, out, monkeypatch):
    monkeypatch.setattr(prepare, "free_space", lambda folder: 1000)
    with pytest.raises(OutputError, match=r"10 images take 5\.1 kB, and '.*' has 1\.0 kB left"):
        extract(photos, model=model, output=str(out))
    assert not out.exists()


@pytest.mark.parametrize("output", ["file", "file/below"])
def test_an_output_that_can_be_no_folder(output, model, photos, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="can't be written"):
        extract(photos, model=model, output=str(tmp_path / output))


def test_names_that_are_too_long(model, tmp_path, out):
    Image.fromarray(picture(0)).save(tmp_path / f"{'x' * 250}.png")
    Image.fromarray(picture(0)).save(tmp_path / "y.png")
    events = extract(tmp_path, model=model, output=str(out))
    assert [event.status for event in events] == ["failed", "done"]
    assert "File name too long" in events[0].error


def test_stopping_at_the_first_error(model, tmp_path, out):
    photos = Path(make_photos(tmp_path / "in", 90))
    (photos / "a/0003.png").write_bytes(b"no image")
    events = extract(photos, model=model, output=str(out), on_error="stop", batch_size=2)
    assert [event.status for event in events].count("failed") == 1
    assert len(events) == len(index(out)) < 20
    shutil.copy(photos / "b/0001.png", photos / "a/0003.png")
    extract(photos, model=model, output=str(out), batch_size=2)
    extract(photos, model=model, output=f"{out}-whole", batch_size=2)
    assert tree(out) == tree(f"{out}-whole")


def test_a_run_that_nobody_listens_to_any_more(model, photos, out):
    from backbone_cli.pipeline.run import run

    job = prepare.prepare(
        Request(inputs=(photos,), model=model, output=str(out), random_init=True, workers=0, batch_size=1)
    )
    events = run(job, lambda: Engine(job.stages))
    for _ in range(4):
        next(events)
    events.close()
    assert 3 <= len(index(out)) < 10
    extract(photos, model=model, output=str(out), batch_size=1)
    assert len(index(out)) == 10


def test_errors_of_the_model_cost_their_images(model, photos, out):
    class Overflowing(Engine):
        def __call__(self, images):
            return [
                ImageError("Its stage2 overflows.") if i == 1 else maps
                for i, maps in enumerate(super().__call__(images))
            ]

    events = extract(photos, model=model, output=str(out), engine=Overflowing(["stage2"]), batch_size=5)
    assert [event.status for event in events].count("failed") == 2
    assert index(out)[1]["error"] == "Its stage2 overflows."


def test_companions_are_computed_again_and_left_alone(model, photos, out):
    extract(photos, model=model, output=str(out), batch_size=5)
    (out / "a/0003.stage2.npy").unlink()
    engine = Engine(["stage2"])
    events = extract(photos, model=model, output=str(out), batch_size=5, engine=engine)
    assert engine.batches == [5]
    assert [event.status for event in events].count("done") == 1


def test_companions_that_are_gone_stay_done(model, tmp_path, out):
    photos = Path(make_photos(tmp_path / "in", 3))
    extract(photos, model=model, output=str(out))
    (out / "a/0000.stage2.npy").unlink()
    (photos / "b/0001.png").write_bytes(b"no image any more")
    os.utime(photos / "b/0001.png", (0, 0))
    assert statuses(extract(photos, model=model, output=str(out))) == {
        "a/0000": "done",
        "b/0001": "skipped",
        "c/0002": "skipped",
    }
    assert [line["status"] for line in index(out)] == ["done"] * 3


def test_no_inputs(model, tmp_path, out):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UsageError, match=r"no images in '.*' \(1 other files"):
        extract(tmp_path, model=model, output=str(out))
