"""All output of commands. Every text passes through `hookchain/printable.py`, so that it cannot control the terminal."""

from __future__ import annotations

import json
import sys

import msgspec

from hookchain.printable import CONTROL_CHARACTERS, printable


def say(text: str, *, to_errors: bool = False) -> None:
    """Print lines. The caller passes foreign values through `printable` first, since their line ends look like ours here."""
    lines = "\n".join("\t".join(map(printable, line.split("\t"))) for line in text.split("\n"))
    print(lines, file=sys.stderr if to_errors else sys.stdout, flush=True)


def say_json(value: object, *, indent: int | None = 2) -> None:
    """Print a value as JSON."""
    print(json_text(value, indent=indent), flush=True)


def json_text(value: object, *, indent: int | None = 2) -> str:
    """The value as JSON. Characters that could control the terminal are JSON escapes, which leave the value unchanged."""
    text = json.dumps(msgspec.to_builtins(value), ensure_ascii=False, indent=indent)
    return "\n".join(
        CONTROL_CHARACTERS.sub(lambda match: json.dumps(match[0])[1:-1], line) for line in text.split("\n")
    )


def last_line(text: str) -> str:
    """The last line of a traceback in which `printable` has escaped the line ends."""
    return text.replace("\\n", "\n").strip().rpartition("\n")[2]
