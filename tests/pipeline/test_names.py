"""Output names, positions and shards of inputs."""

from __future__ import annotations

import gc
import threading

import pytest

from backbone_cli.disk_table import DiskTable
from backbone_cli.errors import UsageError
from backbone_cli.pipeline.names import OutputNames, count_inputs
from backbone_cli.pipeline.sources import Sources, select_shard

from .stub import touch


def test_two_inputs_with_the_same_name_are_refused(tmp_path):
    touch(tmp_path, "a.jpg", "a.png", "b.jpg")
    with pytest.raises(UsageError, match=r"the same output name: '.*a\.jpg' and '.*a\.png' \('a'\)"):
        count_inputs(Sources((str(tmp_path),)), ignore_case=False)
    items = list(OutputNames().assign(Sources((str(tmp_path),))))
    assert [bool(item.error) for item in items] == [False, True, False]


def test_names_that_differ_only_in_case(tmp_path):
    touch(tmp_path, "A.jpg", "a.jpg")
    assert count_inputs(Sources((str(tmp_path),)), ignore_case=False) == 2
    with pytest.raises(UsageError, match="the same output name"):
        count_inputs(Sources((str(tmp_path),)), ignore_case=True)


def test_input_given_twice_counts_once(tmp_path):
    touch(tmp_path, "a.jpg", "b.jpg")
    twice = Sources((str(tmp_path), str(tmp_path / "a.jpg")))
    assert count_inputs(twice, ignore_case=False) == 2
    assert [item.position for item in OutputNames().assign(twice)] == [0, 1]


def test_shards_are_disjoint_and_complete(tmp_path):
    touch(tmp_path, *(f"{i:02}.jpg" for i in range(11)))
    shards = [
        [item.name for item in select_shard(OutputNames().assign(Sources((str(tmp_path),))), (i, 3))] for i in (1, 2, 3)
    ]
    assert sorted(name for shard in shards for name in shard) == [f"{i:02}" for i in range(11)]
    assert [len(shard) for shard in shards] == [4, 4, 3]


def test_disk_table_can_be_collected_in_another_thread():
    tables = [DiskTable("name")]
    thread = threading.Thread(target=tables.clear)
    thread.start()
    thread.join()
    gc.collect()  # pytest turns an error on closing the table into a failure
