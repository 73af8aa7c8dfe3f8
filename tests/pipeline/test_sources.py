"""From inputs to images: files, folders, lists and tar files."""

from __future__ import annotations

import errno
import io
import os
import tarfile
from pathlib import Path

import pytest

from backbone_cli.errors import UsageError
from backbone_cli.pipeline import sources
from backbone_cli.pipeline.names import OutputNames
from backbone_cli.pipeline.sources import Sources, read_list

from .stub import touch


def names(*inputs, **options) -> list[str]:
    return [item.name for item in Sources(tuple(map(str, inputs)), **options)]


def errors(*inputs, **options) -> list[str]:
    return [item.error for item in Sources(tuple(map(str, inputs)), **options) if item.error]


def make_tar(path: Path, *members: str | tarfile.TarInfo, data: bytes = b"pixels") -> Path:
    with tarfile.open(path, "w") as tar:
        for member in members:
            info = tarfile.TarInfo(member) if isinstance(member, str) else member
            info.size = len(data) if info.isfile() else 0
            tar.addfile(info, io.BytesIO(data))
    return path


def test_folder_is_walked_in_order(tmp_path):
    touch(tmp_path, "b.jpg", "a/2.png", "a/10.PNG", "a.jpg", "a/notes.txt", "c/d/e.webp", "c/x.npy")
    items = Sources((str(tmp_path),))
    assert [item.name for item in items] == ["a/10", "a/2", "a", "b", "c/d/e"]
    assert items.skipped == 2
    assert next(iter(items)).source == str(tmp_path / "a/10.PNG")


def test_large_folder_is_sorted_on_disk(tmp_path, monkeypatch):
    touch(tmp_path, *(f"{i % 7}-{i}.jpg" for i in range(50)), "sub/a.jpg")
    in_memory = names(tmp_path)
    monkeypatch.setattr(sources, "MAX_SORTED_IN_MEMORY", 5)
    assert names(tmp_path) == in_memory == sorted(in_memory, key=lambda name: name + ".jpg")


def test_names_are_relative_to_the_input_or_the_root(tmp_path):
    touch(tmp_path, "in/a/1.jpg", "in/2.tar.jpg", "in/.hidden.jpg", "in/plain")
    assert names(tmp_path / "in/a/1.jpg", tmp_path / "in/a") == ["1", "1"]
    assert names(tmp_path / "in/2.tar.jpg", tmp_path / "in/.hidden.jpg", tmp_path / "in/plain") == [
        "2.tar",
        ".hidden",
        "plain",
    ]
    assert names(tmp_path / "in/a/1.jpg", tmp_path / "in", root=str(tmp_path)) == [
        "in/a/1",
        "in/.hidden",
        "in/2.tar",
        "in/a/1",
    ]


def test_files_outside_the_root_are_refused(tmp_path):
    touch(tmp_path, "x/a.jpg", "y/b.jpg")
    (error,) = errors(tmp_path / "x/a.jpg", tmp_path / "y/b.jpg", root=str(tmp_path / "x"))
    assert "outside the output folder" in error


def test_special_and_missing_files_are_errors(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "dangling.jpg").symlink_to("nowhere")
    touch(tmp_path, "a.jpg")
    messages = errors(tmp_path, tmp_path / "pipe.jpg", tmp_path / "missing.jpg", "/dev/null")
    phrases = ("it is a broken link", "a pipe", "a pipe", "there is no such file", "a pipe")
    assert all(phrase in message for message, phrase in zip(messages, phrases, strict=True))


def test_link_to_itself_is_an_error(tmp_path):
    (tmp_path / "self.jpg").symlink_to("self.jpg")
    (tmp_path / "self").symlink_to("self")
    touch(tmp_path, "a.jpg", "z.jpg")
    assert names(tmp_path) == ["a", str(tmp_path / "self.jpg"), "z"]
    (error,) = errors(tmp_path)
    assert "self.jpg" in error
    assert names(tmp_path / "self.jpg", tmp_path / "a.jpg") == [str(tmp_path / "self.jpg"), "a"]


def test_file_without_permission_is_an_error(tmp_path, monkeypatch):
    touch(tmp_path, "a.jpg", "locked.jpg", "z.jpg")
    original = Path.stat

    def stat(path, **options):
        if path.name == "locked.jpg":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return original(path, **options)

    monkeypatch.setattr(Path, "stat", stat)
    assert names(tmp_path) == ["a", str(tmp_path / "locked.jpg"), "z"]
    assert errors(tmp_path) == [f"'{tmp_path}/locked.jpg' can't be used: Permission denied."]


def test_circular_links_are_followed_once(tmp_path):
    touch(tmp_path, "a/1.jpg")
    (tmp_path / "a/up").symlink_to(tmp_path)
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert names(tmp_path) == ["a/1", "b/1"]


def test_names_that_are_not_valid_text_are_kept(tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff\n\xfe.jpg")
    Path(path).touch()
    (item,) = OutputNames().assign(Sources((str(tmp_path),)))
    assert os.fsencode(item.name) == b"\xff\n\xfe"


def test_inputs_of_which_none_exists_are_refused(tmp_path):
    with pytest.raises(UsageError, match=r"no file or folder 'nope' \(nor 1 others\)"):
        Sources(("nope", "neither")).check()
    Sources(("nope", str(tmp_path))).check()


def test_empty_input_is_refused(tmp_path):
    with pytest.raises(UsageError, match="An input is empty"):
        Sources(("", str(tmp_path))).check()


def test_closed_standard_input_is_an_error(monkeypatch):
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(UsageError, match="Standard input is closed"):
        Sources(("-",)).buffer_stdin()
    with pytest.raises(UsageError, match="Standard input is closed"):
        names("-")


@pytest.mark.parametrize(
    ("null", "data", "paths"),
    [
        (False, b"a.jpg\n\nb c.jpg\r\n\xff.jpg", ["a.jpg", "b c.jpg", os.fsdecode(b"\xff.jpg")]),
        (True, b"a.jpg\0\0b\nc.jpg\0d.jpg", ["a.jpg", "b\nc.jpg", "d.jpg"]),
        (True, b"", []),
    ],
)
def test_lists_are_read(null, data, paths):
    assert list(read_list(io.BytesIO(data), null)) == paths


def test_buffered_list_can_be_iterated_twice(tmp_path, monkeypatch):
    touch(tmp_path, "a.jpg", "b.jpg")
    stdin = io.TextIOWrapper(io.BytesIO(f"{tmp_path}/a.jpg\n{tmp_path}/b.jpg\n".encode()))
    monkeypatch.setattr("sys.stdin", stdin)
    items = Sources(("-",))
    items.buffer_stdin()
    assert [item.name for item in items] == [item.name for item in items] == ["a", "b"]


# --- tar files --------------------------------------------------------------------------------------------------


def test_tar_members_are_inputs(tmp_path):
    folder = tarfile.TarInfo("x")
    folder.type = tarfile.DIRTYPE
    tar = make_tar(tmp_path / "t.tar", folder, "x/a.jpg", "x/a.json", "./b.png")
    tar_sources = Sources((str(tar),))
    items = list(tar_sources)
    assert [item.name for item in items] == ["x/a", "b"]
    assert items[0].source == f"{tar}/x/a.jpg"
    offset, size = items[0].span
    assert tar.read_bytes()[offset : offset + size] == b"pixels"
    assert tar_sources.skipped == 1
    assert names(tar, root=str(tmp_path)) == ["t.tar/x/a", "t.tar/b"]


def test_tar_members_outside_the_output_folder_are_refused(tmp_path):
    link = tarfile.TarInfo("l.jpg")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    tar = make_tar(tmp_path / "t.tar", "../../x.jpg", "/etc/x.jpg", "a/../../x.jpg", link, "ok.jpg")
    items = list(Sources((str(tar),)))
    assert [bool(item.error) for item in items] == [True, True, True, True, False]


def test_truncated_tar_is_an_error(tmp_path):
    tar = make_tar(tmp_path / "t.tar", "a.jpg", "b.jpg", data=b"x" * 2000)
    tar.write_bytes(tar.read_bytes()[:4000])
    assert names(tar) == ["a", f"{tar}/b.jpg"]
    assert "ends inside it" in errors(tar)[0]


def test_damaged_tar_is_an_error(tmp_path):
    tar = make_tar(tmp_path / "t.tar", "a.jpg", "b.jpg", "c.jpg")
    data = bytearray(tar.read_bytes())
    data[1024:1500] = b"\x01" * 476  # the second header
    tar.write_bytes(data)
    items = list(Sources((str(tar),)))
    assert items[0].name == "a"
    assert "damaged" in items[1].error
    assert len(items) == 2
    tar.write_bytes(b"not a tar file" * 100)
    assert "can't be read as a tar file" in errors(tar)[0]


def header(name: str, length: int, kind: bytes = tarfile.REGTYPE, **pax: str) -> bytes:
    """A member's header, and any extended header before it, with values that may be invalid."""
    info = tarfile.TarInfo(name)
    info.size, info.type, info.pax_headers = length, kind, {key.replace("_", "."): value for key, value in pax.items()}
    return info.tobuf(tarfile.PAX_FORMAT if pax else tarfile.GNU_FORMAT)


@pytest.mark.parametrize(
    "damage",
    [
        header("b.jpg", -512),
        header("b.jpg", -1),
        header("b.jpg", 0, size="-100000"),
        header("b.jpg", 6, GNU_sparse_map="a,b"),
        header("b.jpg", 6, GNU_sparse_size="zz", GNU_sparse_map="1,2,3"),
        header("b.jpg", 6, GNU_sparse_major="1", GNU_sparse_minor="0") + b"\x89PNG\n".ljust(512, b"\0"),
        header("long", 1 << 70, tarfile.GNUTYPE_LONGNAME),
        header("pax", (1 << 63) - 1, tarfile.XHDTYPE),
        header("pax", 0, tarfile.XHDTYPE) * 5_000,
    ],
    ids=["block back", "below zero", "far back", "map", "size", "blocks", "long name", "long pax", "nested"],
)
def test_invalid_tar_headers_end_the_tar(damage, tmp_path):
    intact = make_tar(tmp_path / "intact.tar", "a.jpg", "c.jpg").read_bytes()
    tar = tmp_path / "t.tar"
    tar.write_bytes(intact[:1024] + damage + intact[1024:])
    assert names(tar, tmp_path / "intact.tar") == ["a", str(tar), "a", "c"]
    assert "images after the damage are lost" in errors(tar)[0]
    tar.write_bytes(damage + intact)
    assert names(tar, tmp_path / "intact.tar") == [str(tar), "a", "c"]


def link(name: str, to: str, kind: bytes = tarfile.LNKTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, to
    return info


def test_hard_links_in_a_tar_are_followed(tmp_path):
    tar = make_tar(tmp_path / "t.tar", "a.jpg", "notes.txt", link("b.jpg", "./a.jpg"), "c.jpg", link("d.jpg", "b.jpg"))
    a, b, c, d = Sources((str(tar),))
    assert [item.name for item in (a, b, c, d)] == ["a", "b", "c", "d"]
    assert a.span == b.span == d.span != c.span


def test_hard_link_refers_to_the_last_member_before_it(tmp_path):
    tar = make_tar(tmp_path / "t.tar", "a.jpg", "a.jpg", link("b.jpg", "a.jpg"), "a.jpg", link("c.jpg", "a.jpg"))
    spans = [item.span for item in Sources((str(tar),))]
    assert spans[2] == spans[1] != spans[0]
    assert spans[4] == spans[3] != spans[1]


def test_tar_links_without_data_are_errors(tmp_path):
    links = link("b.jpg", "c.jpg"), link("s.jpg", "a.jpg", tarfile.SYMTYPE), link("p.jpg", "", tarfile.FIFOTYPE)
    tar = make_tar(tmp_path / "t.tar", "a.jpg", *links, link("notes.txt", "a.jpg", tarfile.SYMTYPE), "c.jpg")
    items = Sources((str(tar),))
    phrases = ("", "hard link to 'c.jpg'", "symbolic link", "a pipe", "")
    assert all(phrase in (item.error or "") for item, phrase in zip(items, phrases, strict=True))
    assert items.skipped == 1
