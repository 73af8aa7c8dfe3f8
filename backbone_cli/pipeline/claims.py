"""Two inputs never share a name, and one that was named twice is one input."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from ..errors import UsageError
from .ledger import Ledger
from .sources import Item

SHOWN = 3
"""Clashes that a message names."""


class Claims:
    """Numbers the inputs as they come by, and gives each its name if no earlier one has it."""

    def __init__(self, ignore_case: bool = False) -> None:
        self.positions = Ledger("source", "position")
        self.names = Ledger("name", "source")
        self.ignore_case = ignore_case
        self.count = self.clashes = 0
        self.examples: list[str] = []
        """The first few clashes, in words."""

    def pass_by(self, items: Iterable[Item]) -> Iterator[Item]:
        for item in items:
            if self.positions.add(item.source, self.count):
                item.position = self.count
                self.count += 1
                if item.error is None and (owner := self.claim(item)):
                    item.error = f"Its output would have the name '{item.name}', which '{owner}' has."
                    self.clashes += 1
                    if self.clashes <= SHOWN:
                        self.examples.append(f"'{owner}' and '{item.source}' ('{item.name}')")
                yield item

    def claim(self, item: Item) -> str | None:
        """The input that has this name already; None where it is this one's now."""
        name = item.name.casefold() if self.ignore_case else item.name
        if self.names.add(name, item.source):
            return None
        owner = self.names.get("name", name)
        return owner[1] if owner else None


def count(items: Iterable[Item], ignore_case: bool) -> int:
    """How many inputs there are; two that would have one name are told before anything is done."""
    claims = Claims(ignore_case)
    for _ in claims.pass_by(items):
        pass
    if claims.clashes:
        others = f", and {claims.clashes - SHOWN} more" if claims.clashes > SHOWN else ""
        raise UsageError(
            f"Some inputs would have one output name: {'; '.join(claims.examples)}{others}."
            " Rename one, or give --root a folder above both."
        )
    return claims.count


def ignores_case(folder: Path) -> bool:
    """Whether the file system takes `A` and `a` for one name, there where the folder is or will be."""
    there = nearest_existing(folder)
    return there.name != there.name.swapcase() and there.with_name(there.name.swapcase()).exists()


def nearest_existing(folder: Path) -> Path:
    """The folder itself, or the one in which it would be made."""
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
