"""Help that groups a command's options, in plain text: rich's panels would double the start-up time."""

from __future__ import annotations

from typing import Any

import typer

MOST_USED = "Most used"
MODEL = "Model"
INPUTS = "Inputs"
IMAGES = "Images"
SAVED = "What is saved"
COMPUTATION = "Computation"
RUNS = "Runs"

ORDER = (MOST_USED, MODEL, INPUTS, IMAGES, SAVED, COMPUTATION, RUNS)


class PanelCommand(typer.core.TyperCommand):
    """A command whose help shows its options by panel."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        sections: dict[str, list[tuple[str, str]]] = {panel: [] for panel in ("Arguments", *ORDER)}
        for param in self.get_params(ctx):
            if record := param.get_help_record(ctx):
                is_argument = param.param_type_name == "argument"
                panel = "Arguments" if is_argument else getattr(param, "rich_help_panel", None) or RUNS
                sections[panel].append(record)
        for title, records in sections.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)
