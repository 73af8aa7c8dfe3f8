"""The option names, short names and defaults of `backbone extract` are public and must not change by accident."""

from __future__ import annotations

import inspect
from dataclasses import fields
from typing import get_args, get_type_hints

import pytest
import typer
from PIL import Image

from backbone_cli.cli import app, options, panels, run
from backbone_cli.configs.resnet import ResNetConfig
from backbone_cli.errors import UsageError
from backbone_cli.pipeline.request import Request

DOCUMENTED = {
    "--model -m": None,
    "--out-indices": None,
    "--out-features": None,
    "--output -o": "features",
    "--format -f": "npy",
    "--layout": "files",
    "--pool": "none",
    "--device": "auto",
    "--dtype": "float32",
    "--save-dtype": "float32",
    "--batch-size -b": "auto",
    "--workers -j": "auto",
    "--image-size": None,
    "--random-init": False,
    "--seed": 0,
    "--revision": None,
    "--offline": False,
    "--null -0": False,
    "--shard": None,
    "--root": None,
    "--overwrite": False,
    "--on-error": "skip",
    "--dry-run": False,
    "--fast-decode": False,
    "--compile": False,
    "--max-pixels": 178_956_970,
    "--json": False,
    "--quiet -q": False,
    "--verbose -v": False,
}

CHOICES = {
    "--format": ["npy", "safetensors"],
    "--layout": ["files", "stacked"],
    "--pool": ["none", "mean", "cls"],
    "--dtype": ["float32", "bfloat16", "float16"],
    "--save-dtype": ["float32", "float16", "bfloat16"],
    "--on-error": ["skip", "stop"],
}


def parameters():
    command = typer.main.get_command(app).commands["extract"]
    return [parameter for parameter in command.params if parameter.param_type_name == "option"]


def test_options_are_the_documented_ones():
    names = {" ".join(sorted(p.opts, key=lambda o: -len(o))): p.default for p in parameters() if p.name != "help"}
    assert names == DOCUMENTED
    assert all(not parameter.secondary_opts for parameter in parameters())


def test_help_groups_the_options(capsys):
    assert run(["extract", "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line in {f"{panel}:" for panel in panels.ORDER}] == [
        f"{panel}:" for panel in panels.ORDER
    ]


def test_choices_are_the_documented_ones():
    hints = get_type_hints(Request)
    assert {name: list(get_args(hints[name[2:].replace("-", "_")])) for name in CHOICES} == CHOICES


def test_only_the_model_can_come_from_the_environment():
    assert {p.envvar for p in parameters() if p.envvar} == {"BACKBONE_MODEL"}


def test_every_request_field_is_an_option():
    from backbone_cli.cli.extract import extract

    parameter_names = set(inspect.signature(extract).parameters)
    assert {field.name for field in fields(Request)} - parameter_names == set()
    assert parameter_names - {field.name for field in fields(Request)} == {"dry_run", "as_json", "quiet", "verbose"}


@pytest.mark.parametrize(
    ("environ", "shard"),
    [
        ({"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_MIN": "5", "SLURM_ARRAY_TASK_COUNT": "4"}, (3, 4)),
        ({"SLURM_ARRAY_TASK_ID": "0", "SLURM_ARRAY_TASK_MIN": "0", "SLURM_ARRAY_TASK_COUNT": "2"}, (1, 2)),
        (
            {
                "SLURM_ARRAY_TASK_ID": "9",
                "SLURM_ARRAY_TASK_MIN": "1",
                "SLURM_ARRAY_TASK_COUNT": "5",
                "SLURM_ARRAY_TASK_STEP": "4",
            },
            (3, 5),
        ),
        ({"RANK": "0", "WORLD_SIZE": "3"}, (1, 3)),
        ({"RANK": "2", "WORLD_SIZE": "3"}, (3, 3)),
    ],
)
def test_shard_of_a_job_array(environ, shard):
    assert options.parse_shard("auto", environ) == shard


def test_explicit_shards():
    assert options.parse_shard("3/8") == (3, 8)
    assert options.parse_shard(None) is None
    for text in ("3", "a/b", "3/8/1", "-1/3"):
        with pytest.raises(UsageError, match="must be I/N, for example 3/8"):
            options.parse_shard(text)
    with pytest.raises(UsageError, match="no job array"):
        options.parse_shard("auto", {"RANK": "1"})


LONG = "9" * 5000


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--seed", str(2**64)),
        ("-b", str(2**63)),
        ("-b", LONG),
        ("--shard", f"1/{LONG}"),
        ("--image-size", LONG),
        ("--image-size", "100000"),
        ("--out-indices", LONG),
        ("--out-indices", f"0-{LONG}"),
    ],
)
def test_numbers_that_are_too_large_are_refused(option, value, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    ResNetConfig(embedding_size=8, hidden_sizes=[8], depths=[1]).save_pretrained(tmp_path)
    Image.new("RGB", (20, 10)).save("a.png")
    assert run(["extract", "-m", str(tmp_path), "a.png", "--random-init", option, value]) == 2
    assert len(capsys.readouterr().err) < 500


def test_model_with_four_input_channels(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    ResNetConfig(num_channels=4, embedding_size=8, hidden_sizes=[8], depths=[1]).save_pretrained(tmp_path)
    Image.new("RGB", (20, 10)).save("a.png")
    assert run(["extract", "-m", str(tmp_path), "a.png", "--random-init"]) == 3
    assert "takes images with 4 channels" in capsys.readouterr().err
