"""Two inputs never share a name, and one that was named twice is one input."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from ..errors import UsageError
from .ledger import Ledger
from .sources import Item


class Claims:
    """Numbers the inputs as they come by, and gives each its name if no earlier one has it."""

    def __init__(self, ignore_case: bool = False) -> None:
        self.positions = Ledger("source", "position")
        self.names = Ledger("name", "source")
        self.ignore_case = ignore_case
        self.count = 0

    def pass_by(self, items: Iterable[Item]) -> Iterator[Item]:
        for item in items:
            if self.positions.add(item.source, self.count):
                item.position = self.count
                self.count += 1
                if item.error is None and (owner := self.claim(item)):
                    item.error = f"Its output would have the name '{item.name}', which '{owner}' has."
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
    clashes: list[str] = []
    more = 0
    for item in items:
        if claims.positions.add(item.source, claims.count):
            claims.count += 1
            if item.error is None and (owner := claims.claim(item)):
                if len(clashes) < 3:
                    clashes.append(f"'{owner}' and '{item.source}' ('{item.name}')")
                else:
                    more += 1
    if clashes:
        others = f", and {more} more" if more else ""
        raise UsageError(
            f"Some inputs would have one output name: {'; '.join(clashes)}{others}."
            " Rename one, or give --root a folder above both."
        )
    return claims.count


def ignores_case(folder: Path) -> bool:
    """Whether the file system takes `A` and `a` for one name, there where the folder is or will be."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    return there.name != there.name.swapcase() and there.with_name(there.name.swapcase()).exists()
