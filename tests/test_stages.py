"""Choosing stages with the strings that a shell passes."""

import pytest

from backbone_cli.errors import StageError
from backbone_cli.stages import choose_stages

NAMES = ["stem", "stage1", "stage2", "stage3", "stage4"]


@pytest.mark.parametrize(
    ("indices", "features", "chosen"),
    [
        ([], [], [4]),
        (["0,1,2"], [], [0, 1, 2]),
        (["0", "2"], [], [0, 2]),
        (["3,0"], [], [0, 3]),
        (["-1"], [], [4]),
        (["-1,-5"], [], [0, 4]),
        (["0-3"], [], [0, 1, 2, 3]),
        (["-3--1"], [], [2, 3, 4]),
        (["0, 2-3"], [], [0, 2, 3]),
        (["all"], [], [0, 1, 2, 3, 4]),
        ([], ["stage1,stem"], [0, 1]),
        ([], ["stem", "stage4"], [0, 4]),
        (["0,-1"], ["stage4,stem"], [0, 4]),
    ],
)
def test_chosen_stages(indices, features, chosen):
    assert choose_stages(NAMES, indices, features) == chosen


@pytest.mark.parametrize(
    ("indices", "features", "message"),
    [
        (["5"], [], "no stage 5"),
        (["-6"], [], "no stage -6"),
        (["3-1"], [], "backwards"),
        (["0,0"], [], "twice"),
        (["4,-1"], [], "twice"),
        (["0-2,1"], [], "twice"),
        (["one"], [], "not a stage index"),
        (["stage1"], [], "use --out-features stage1"),
        ([","], [], "No stage was given"),
        ([], ["stage9"], "Did you mean 'stage"),
        ([], ["stem,stem"], "twice"),
        (["0"], ["stage1"], "different stages"),
    ],
)
def test_invalid_choices_are_refused(indices, features, message):
    with pytest.raises(StageError, match=message):
        choose_stages(NAMES, indices, features)
