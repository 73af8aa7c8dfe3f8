"""Positions and output names of inputs: two inputs never share a name, and an input given twice counts once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from ..disk_table import DiskTable
from ..errors import UsageError
from ..output.records import Item

MAX_EXAMPLES = 3
"""How many clashes a message names."""


class OutputNames:
    """Numbers inputs in order, and gives each its output name unless an earlier input has it."""

    def __init__(self, ignore_case: bool = False) -> None:
        self.positions = DiskTable("source", "position")
        self.owners = DiskTable("name", "source")
        self.ignore_case = ignore_case
        self.count = self.clashes = 0
        self.examples: list[str] = []
        """The first few clashes, as phrases."""

    def assign(self, items: Iterable[Item]) -> Iterator[Item]:
        """The items with their positions, without repetitions; one whose name is taken has an error."""
        for item in items:
            if self.positions.add(item.source, self.count):
                item = replace(item, position=self.count)
                self.count += 1
                if item.error is None and (owner := self.claim(item)):
                    item = replace(item, error=f"Its output would have the name '{item.name}', which '{owner}' has.")
                    self.clashes += 1
                    if self.clashes <= MAX_EXAMPLES:
                        self.examples.append(f"'{owner}' and '{item.source}' ('{item.name}')")
                yield item

    def claim(self, item: Item) -> str | None:
        """Claim an item's name for it; if another input has it already, return that one."""
        name = item.name.casefold() if self.ignore_case else item.name
        if self.owners.add(name, item.source):
            return None
        owner = self.owners.get("name", name)
        return owner[1] if owner else None


def count_inputs(items: Iterable[Item], ignore_case: bool) -> int:
    """The number of inputs. Raises UsageError if two of them would have the same output name."""
    names = OutputNames(ignore_case)
    for _ in names.assign(items):
        pass
    if names.clashes:
        others = f", and {names.clashes - MAX_EXAMPLES} more" if names.clashes > MAX_EXAMPLES else ""
        raise UsageError(
            f"Some inputs would have the same output name: {'; '.join(names.examples)}{others}."
            " Rename one, or give --root a folder above both."
        )
    return names.count


def ignores_case(folder: Path) -> bool:
    """Whether the file system of a folder, which may not exist yet, treats `A` and `a` as the same name."""
    there = nearest_existing(folder)
    return there.name != there.name.swapcase() and there.with_name(there.name.swapcase()).exists()


def nearest_existing(folder: Path) -> Path:
    """The folder itself, or its closest parent that exists."""
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
