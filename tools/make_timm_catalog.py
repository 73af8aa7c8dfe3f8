"""Generate `backbone_cli/timm/catalog.json` from the installed timm; takes an hour on one core.

python tools/make_timm_catalog.py                    # everything
python tools/make_timm_catalog.py 'convnext*' ...    # only these
"""

from __future__ import annotations

import json
import sys
import warnings
from collections import defaultdict
from collections.abc import Iterator
from itertools import groupby
from typing import Any

import timm
from timm.models import get_deprecated_models

from backbone_cli.errors import UnsupportedModel
from backbone_cli.timm.catalog import FILE
from backbone_cli.timm.facts import DEFAULT_DATA_CONFIG, Architecture, PretrainedTag, TimmStage
from backbone_cli.timm.probe import probe


def main(patterns: list[str]) -> None:
    warnings.simplefilter("ignore")
    file: dict[str, Any] = json.loads(FILE.read_text()) if patterns and FILE.exists() else {}
    tables = {key: file.get(key, []) for key in ("pixels", "build", "stages")}
    models = file.get("models", {})
    names = timm.list_models(patterns or "*")
    kinds: dict[str, list[Architecture]] = defaultdict(list)
    for i, name in enumerate(names, 1):
        kind = kinds[timm.models.model_entrypoint(name).__module__]
        try:
            architecture = probe(name, kind)
        except UnsupportedModel as error:
            sys.stderr.write(f"{name} is skipped: {error}\n")
            continue
        if not any(behaves_as(architecture, other) for other in kind):
            kind.insert(0, architecture)
        models[name] = row(architecture, tables)
        sys.stderr.write(f"{i}/{len(names)} {name}\n")
    renamed = {old: new for old, new in get_deprecated_models().items() if new}
    write({"timm": timm.__version__, **tables, "models": dict(sorted(models.items())), "renamed": renamed})


def behaves_as(one: Architecture, other: Architecture) -> bool:
    def behaviour(architecture: Architecture) -> tuple[Any, ...]:
        rules = {(stage.stride, stage.step, stage.shift) for stage in architecture.stages}
        return dict(architecture.build_args), architecture.multiple, architecture.rebuild_multiple, rules

    return behaviour(one) == behaviour(other)


def row(architecture: Architecture, tables: dict[str, list[Any]]) -> list[Any]:
    stages = number(tables["stages"], list(runs(architecture.stages)))
    build = number(tables["build"], dict(architecture.build_args))
    tags = {name: tag_row(architecture.name, name, tag, tables) for name, tag in architecture.tags.items()}
    return [stages, build, architecture.multiple, architecture.rebuild_multiple, tags]


def tag_row(architecture: str, name: str, tag: PretrainedTag, tables: dict[str, list[Any]]) -> Any:
    pixels = number(tables["pixels"], [tag.data[key] for key in DEFAULT_DATA_CONFIG])
    return pixels if tag.source == f"timm/{architecture}.{name}" else [pixels, tag.source]


def runs(stages: tuple[TimmStage, ...]) -> Iterator[list[Any]]:
    """Merge stages that differ only in the number at the end of their names."""

    def alike(numbered: tuple[int, TimmStage]) -> tuple[Any, ...]:
        i, stage = numbered
        stem, _, end = stage.name.rpartition(".")
        name = (stem, int(end) - i) if stem and end.isdecimal() else (stage.name,)
        return (*name, stage.channels, stage.stride, stage.step, stage.shift)

    for _, run in groupby(enumerate(stages), alike):
        first, *rest = (stage for _, stage in run)
        count = [1 + len(rest)] if rest else []
        yield [first.name, first.channels, first.stride, first.step, first.shift, *count]


def number(table: list[Any], value: Any) -> int:
    """The index of a value in a table; new values are appended."""
    if value not in table:
        table.append(value)
    return table.index(value)


def write(file: dict[str, Any]) -> None:
    """Compact, one row per line."""
    parts = []
    for key, value in file.items():
        if isinstance(value, str):
            parts.append(f"{dumps(key)}:{dumps(value)}")
        elif isinstance(value, list):
            parts.append(f"{dumps(key)}:[\n" + ",\n".join(map(dumps, value)) + "\n]")
        else:
            rows = ",\n".join(f"{dumps(name)}:{dumps(row)}" for name, row in value.items())
            parts.append(f"{dumps(key)}:{{\n{rows}\n}}")
    FILE.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")


def dumps(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


if __name__ == "__main__":
    main(sys.argv[1:])
