"""Write docs/cli.md from the command line itself: `python tools/make_cli_docs.py`."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from backbone_cli.cli import COMMANDS, command
from backbone_cli.cli.panels import ORDER

FILE = Path(__file__).parents[1] / "docs" / "cli.md"

HEAD = """# The command line

Generated from the program by `python tools/make_cli_docs.py`. `backbone COMMAND --help` shows the same.

Exit codes: 0, every input is done; 1, some inputs failed; 2, the command was wrong; 3, the model can't be resolved or
loaded; 4, the output can't be written; 130, interrupted.
"""


def page() -> str:
    return HEAD + "".join(section(name) for name in COMMANDS)


def section(name: str) -> str:
    """One command: what it does, examples, and its options in tables."""
    typer_command = command(name)
    text, _, examples = inspect.cleandoc(typer_command.callback.__doc__).partition("\n\n\b\n")
    parts = [f"\n## backbone {name}\n\n{text}\n"]
    if examples:
        parts.append(f"\n```\n{examples}\n```\n")
    for title, rows in tables(typer_command):
        parts.append(f"\n| {title} | |\n| --- | --- |\n" + "".join(f"| `{name}` | {text} |\n" for name, text in rows))
    return "".join(parts)


def tables(typer_command: Any) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """The command's arguments and options by panel, as (name, help) rows."""
    context = typer_command.context_class(typer_command, **typer_command.context_settings)
    panels: dict[str, list[tuple[str, str]]] = {}
    for param in typer_command.get_params(context):
        if record := param.get_help_record(context):
            is_argument = param.param_type_name == "argument"
            title = "Arguments" if is_argument else getattr(param, "rich_help_panel", None) or "Options"
            panels.setdefault(title, []).append((escape(record[0]), escape(record[1])))
    for title in ("Arguments", *ORDER, "Options"):
        if title in panels:
            yield title, panels[title]


def escape(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


if __name__ == "__main__":
    FILE.write_text(page(), encoding="utf-8")
