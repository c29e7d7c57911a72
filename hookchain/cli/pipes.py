"""Ends a command quietly when the reader of its output has ended, as in `hookchain tasks | head -1`.

Signals cannot do this: SIGPIPE would also end a command whose connection to the server was closed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn, TextIO

EXIT_CODE = 141
"""What a shell reports for `ls` or `git` in the same place: 128 + SIGPIPE."""


@contextmanager
def ends_with_its_reader() -> Iterator[None]:
    """Exit with `EXIT_CODE` at the first write to standard output that nobody reads."""
    out = sys.stdout
    if out is None:  # closed with >&-
        yield
        return
    sys.stdout = _Output(out)
    try:
        yield
    finally:
        sys.stdout = out


class _Output:
    """Standard output. Typer and rich would exit with 1, as for a failure."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write the text, or exit."""
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            self._exit()

    def flush(self) -> None:
        """Write what is buffered, or exit."""
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._exit()

    def _exit(self) -> NoReturn:
        # Otherwise Python tries to write the rest at its end, and reports that it cannot.
        os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
        sys.exit(EXIT_CODE)

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)
