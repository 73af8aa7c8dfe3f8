"""The rooms of the package, and which way imports run between them: docs/architecture.md, as a test."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import backbone_cli

PACKAGE = Path(backbone_cli.__file__).parent

# Each room may import from itself and from the rooms listed for it, also inside functions. A module at the top level
# is a room of its own.
ROOMS: dict[str, set[str]] = {
    # Tables and words.
    "errors": set(),
    "units": set(),
    "versions": set(),
    "disk_table": {"errors"},
    "stages": {"errors"},
    "hub": {"errors"},
    "registry": {"errors"},
    "composites": {"errors"},
    # From a name to a model.
    "configs": {"errors", "hub", "stages"},
    "checkpoint": {"errors", "hub"},
    "models": {"checkpoint", "configs", "errors", "hub", "stages"},
    "optimization": {"models"},
    "images": {"composites", "errors", "hub", "timm"},
    "timm": {"checkpoint", "configs", "errors", "hub", "images", "models"},
    "resolve": {"composites", "configs", "errors", "hub", "registry", "timm"},
    "auto": {"checkpoint", "configs", "errors", "hub", "images", "maskformer", "registry", "resolve", "timm"},
    "maskformer": {
        *("auto", "checkpoint", "composites", "configs", "errors", "hub", "images", "models", "registry", "resolve"),
    },
    # From images to files, and back.
    "output": {"disk_table", "errors"},
    "pipeline": {
        *("auto", "disk_table", "errors", "hub", "images", "optimization", "output", "resolve", "stages", "units"),
        "versions",
    },
    "view": {"errors", "images", "output", "pipeline", "units"},
    # What users touch.
    "cli": {
        *("composites", "errors", "images", "output", "pipeline", "registry", "resolve", "stages", "timm", "units"),
        *("versions", "view"),
    },
    "__main__": {"cli"},
    "__init__": {"registry", "versions"},
}

# The two shortcuts that look up: `from_pretrained` of configurations and of models.
SHORTCUTS = {("configs.base", "resolve"), ("models.base", "auto")}


def modules() -> dict[str, Path]:
    """Dotted name below the package -> file."""
    names = {path: path.relative_to(PACKAGE).with_suffix("").parts for path in PACKAGE.rglob("*.py")}
    return {".".join(parts[:-1] if parts[-1] == "__init__" else parts) or "__init__": p for p, parts in names.items()}


MODULES = modules()


def imports(name: str) -> Iterator[tuple[str, bool]]:
    """The package's modules that a module imports, and whether it does so when it is itself imported."""
    path = MODULES[name]
    package = path.parent.relative_to(PACKAGE).parts

    def visit(node: ast.AST, in_function: bool) -> Iterator[tuple[str, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            if isinstance(child, ast.ImportFrom) and child.level:
                base = [*package[: len(package) - child.level + 1], *(child.module or "").split(".")]
                for alias in child.names:
                    found = ".".join(filter(None, [*base, alias.name]))
                    target = found if found in MODULES else ".".join(filter(None, base))
                    if target in MODULES and target != name:
                        yield target, not in_function
            is_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
            yield from visit(child, in_function or is_function)

    yield from visit(ast.parse(path.read_text()), False)


def room(module: str) -> str:
    return module.partition(".")[0]


@pytest.mark.parametrize("name", sorted(MODULES))
def test_imports_stay_within_the_allowed_rooms(name):
    allowed = ROOMS[room(name)] | {room(name)}
    arrows = [f"{name} -> {target}" for target, _ in imports(name) if room(target) not in allowed]
    assert not [arrow for arrow in arrows if tuple(arrow.split(" -> ")) not in SHORTCUTS]


def test_modules_import_each_other_in_one_direction_only():
    graph = {name: {target for target, _ in imports(name)} for name in MODULES}
    for name, target in SHORTCUTS:
        graph[name].discard(target)
    while leaves := [name for name, targets in graph.items() if not targets & graph.keys()]:
        for name in leaves:
            del graph[name]
    assert not graph, f"these modules import each other in a circle: {sorted(graph)}"


@pytest.mark.parametrize("name", ["errors", "stages", "registry", "composites", "hub", "resolve", "output.index"])
def test_modules_without_torch_import_none(name):
    """Neither directly nor through what they import at once."""
    seen, todo = set(), [name]
    while todo:
        module = todo.pop()
        seen.add(module)
        todo += [target for target, is_eager in imports(module) if is_eager and target not in seen]
    heavy = ("import torch", "from torch", "import timm", "from timm")
    for module in seen:
        lines = MODULES[module].read_text().splitlines()
        assert not [line for line in lines if line.startswith(heavy)], module
