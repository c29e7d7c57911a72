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
        with open(os.devnull, "w", encoding="utf-8") as nowhere:
            sys.stdout = _Closed(nowhere)
            try:
                yield
            finally:
                sys.stdout = out
        return
    sys.stdout = _Output(out)
    try:
        yield
    finally:
        sys.stdout = out


class OutputFailed(OSError):
    """Standard output cannot be written, for example because a disk is full."""


def discard_the_rest() -> None:
    """Throw away what is buffered for standard output. Otherwise Python tries to write it at its end, and reports that it cannot."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Closed:
    """Standard output that was closed before the start. What a command does is done all the same."""

    def __init__(self, nowhere: TextIO) -> None:
        self._nowhere = nowhere
        self._is_said = False

    def write(self, text: str) -> int:
        """Write nothing, and say so once."""
        if not self._is_said and sys.stderr is not None:
            sys.stderr.write("hookchain: standard output is closed, so that nothing can be shown\n")
        self._is_said = True
        return len(text)

    def __getattr__(self, name: str) -> object:
        return getattr(self._nowhere, name)


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
        except OSError as error:
            raise OutputFailed(error.errno, error.strerror) from error

    def flush(self) -> None:
        """Write what is buffered, or exit."""
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._exit()
        except OSError as error:
            raise OutputFailed(error.errno, error.strerror) from error

    def _exit(self) -> NoReturn:
        # Otherwise Python tries to write the rest at its end, and reports that it cannot.
        os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
        sys.exit(EXIT_CODE)

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)
