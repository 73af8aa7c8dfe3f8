"""A table that does not grow in memory: names of ten million images are kept in a temporary file on disk."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from typing import Any

from .errors import OutputError


class DiskTable:
    """Rows of strings and numbers, keyed by the first column. The table is deleted with the object."""

    def __init__(self, key: str, *columns: str) -> None:
        # A database without a name has a small cache and spills into a temporary file.
        # Only one thread uses it, but Python may collect, and so close, it in any other.
        self.database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self.key = key
        self.placeholders = ", ".join("?" * (1 + len(columns)))
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
        """Add a row; False if there is one with that key, which is kept."""
        return self.insert("IGNORE", row) == 1

    def put(self, *row: str | int) -> None:
        """Add a row, replacing one with the same key."""
        self.insert("REPLACE", row)

    def insert(self, on_conflict: str, row: tuple[str | int, ...]) -> int:
        try:
            into = f"INSERT OR {on_conflict} INTO rows VALUES ({self.placeholders})"
            return self.database.execute(into, list(map(store, row))).rowcount
        except sqlite3.OperationalError as error:
            raise OutputError(
                f"The folder for temporary files can't be written ({error}); set TMPDIR to another one."
            ) from error

    def get(self, column: str, value: str | int, condition: str = "TRUE", *args: str | int) -> tuple[Any, ...] | None:
        """A row with this value in this column that also fulfils the SQL `condition`."""
        query = f'SELECT * FROM rows WHERE "{column}" = ? AND {condition}'
        row = self.database.execute(query, [store(value), *map(store, args)]).fetchone()
        return tuple(map(restore, row)) if row else None

    def sorted(self, column: str) -> Iterator[tuple[Any, ...]]:
        for row in self.database.execute(f'SELECT * FROM rows ORDER BY "{column}"'):
            yield tuple(map(restore, row))

    def __len__(self) -> int:
        return int(self.database.execute("SELECT COUNT(*) FROM rows").fetchone()[0])


def store(value: str | int) -> bytes | int:
    """Paths may contain bytes that are not valid text; SQLite can only store them as bytes."""
    return os.fsencode(value) if isinstance(value, str) else value


def restore(value: bytes | int) -> str | int:
    return os.fsdecode(value) if isinstance(value, bytes) else value
