"""What a command prints: a table for people, one JSON value with --json; progress and errors go to stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from licet_sdk.errors import LicetError

PIPE_WIDTH = 1000


class Output:
    """Chosen once from --json; NO_COLOR and pipes are respected by rich."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self._out = Console(soft_wrap=True)
        if not self._out.is_terminal:
            # What reads a pipe has no width; an identifier that is cut off is of no use.
            self._out.width = PIPE_WIDTH
        self._err = Console(stderr=True, soft_wrap=True)

    def show(self, values: Mapping[str, Any], title: str = "") -> None:
        """One record."""
        if self.as_json:
            self._json(values)
            return
        table = Table(show_header=False, title=title or None, title_justify="left", box=None)
        for name, value in values.items():
            table.add_row(name.replace("_", " "), _plain(value))
        self._out.print(table)

    def rows(self, rows: Sequence[Mapping[str, Any]], columns: Sequence[str], title: str = "") -> None:
        """Many records; `columns` are what a person sees, JSON has every field."""
        if self.as_json:
            self._json(rows)
            return
        table = Table(title=title or None, title_justify="left", box=None)
        for column in columns:
            table.add_column(column.replace("_", " "), overflow="fold")
        for row in rows:
            table.add_row(*(_plain(row.get(column, "")) for column in columns))
        self._out.print(table)

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """Shows what is being waited for, on stderr."""
        if self.as_json or not self._err.is_terminal:
            if not self.as_json:
                self._err.print(f"… {text}", highlight=False)
            yield
            return
        with self._err.status(text):
            yield
        self._err.print(f"✓ {text}", highlight=False)

    def fail(self, error: LicetError) -> None:
        """An error with its code and what to do."""
        if self.as_json:
            value = {"error": error.code, "message": error.message, "remedy": error.remedy}
            print(json.dumps(value), file=sys.stderr)  # noqa: T201 - one JSON value, no markup
            return
        self._err.print(f"[bold red]{error.code}[/]: ", end="")
        self._err.print(error.message, markup=False, highlight=False)
        if error.remedy:
            self._err.print(f"  → {error.remedy}", markup=False, highlight=False)

    def _json(self, value: object) -> None:
        print(json.dumps(value, default=str))  # noqa: T201 - the command's result


def _plain(value: object) -> Text:
    """As it is: names and messages come from people and services, and may look like markup."""
    return Text(json.dumps(value, default=str) if isinstance(value, list | tuple | dict) else str(value))
