"""A table that does not grow in memory: names of ten million images are looked up in a temporary file on disk."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from typing import Any

from ..errors import OutputError


class Ledger:
    """Rows of texts and numbers, of which the first column is the key. It is gone when it is closed or forgotten."""

    def __init__(self, key: str, *columns: str) -> None:
        # A database without a name lives in a small cache and spills into a temporary file of its own.
        # Only one thread uses it, but Python may collect what is forgotten in any other, which closes it there.
        self.database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self.key = key
        self.marks = ", ".join("?" * (1 + len(columns)))
        names = ", ".join(f'"{name}"' for name in columns)
        self.database.execute("PRAGMA journal_mode = OFF")
        self.database.execute("PRAGMA synchronous = OFF")
        self.database.execute("PRAGMA cache_size = -500")  # kilobytes
        self.database.execute(f'CREATE TABLE rows ("{key}" PRIMARY KEY{", " * bool(names)}{names}) WITHOUT ROWID')
        if "name" in columns:
            self.database.execute("CREATE INDEX by_name ON rows (name)")

    def __del__(self) -> None:
        self.database.close()

    def add(self, *row: str | int) -> bool:
        """Put in a row; False where there is one with that key, which stays."""
        return self.insert("IGNORE", row) == 1

    def put(self, *row: str | int) -> None:
        """Put in a row, in the place of one with the same key."""
        self.insert("REPLACE", row)

    def insert(self, otherwise: str, row: tuple[str | int, ...]) -> int:
        try:
            into = f"INSERT OR {otherwise} INTO rows VALUES ({self.marks})"
            return self.database.execute(into, list(map(store, row))).rowcount
        except sqlite3.OperationalError as error:
            raise OutputError(f"The folder for temporary files can't be written: {error}; set TMPDIR.") from error

    def get(self, column: str, value: str | int, but: str = "TRUE", *args: str | int) -> tuple[Any, ...] | None:
        """A row in which this column has this value, and for which the condition `but` holds."""
        sought = f'SELECT * FROM rows WHERE "{column}" = ? AND {but}'
        row = self.database.execute(sought, [store(value), *map(store, args)]).fetchone()
        return tuple(map(restore, row)) if row else None

    def sorted(self, column: str) -> Iterator[tuple[Any, ...]]:
        for row in self.database.execute(f'SELECT * FROM rows ORDER BY "{column}"'):
            yield tuple(map(restore, row))

    def __len__(self) -> int:
        return int(self.database.execute("SELECT COUNT(*) FROM rows").fetchone()[0])


def store(value: str | int) -> bytes | int:
    """Paths may hold bytes that are no text; SQLite keeps them only as bytes."""
    return os.fsencode(value) if isinstance(value, str) else value


def restore(value: bytes | int) -> str | int:
    return os.fsdecode(value) if isinstance(value, bytes) else value
