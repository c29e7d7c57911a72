"""Follows one delivery through our files, as somebody does who reads the code: each function once, in the order of the calls.

A stay is a run of functions in one file; a return is a stay in a file that was left before.
"""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import CodeType, FrameType

from dispatcher.loops.deliver import Deliverer
from dispatcher.loops.submit import Submitter

ROOT = Path(__file__).parents[2]
PACKAGES = tuple(f"{ROOT / name}/" for name in ("hookchain", "hooks", "dispatcher", "storage", "midjourney"))
DELIVER = "dispatcher/loops/deliver.py"
BEGIN, END = Deliverer._deliver.__code__, Submitter._attempt.__code__
BESIDE = tuple(f"Deliverer.{name}" for name in ("_turn", "_route", "stop", "__init__"))
"""What the deliverer does for no single delivery."""

_is_in_delivery = ContextVar("is_in_delivery", default=False)


class Walk:
    """The functions of one delivery, from the start of its run until it is committed."""

    def __init__(self) -> None:
        self._functions: dict[CodeType, None] = {}

    @property
    def functions(self) -> list[tuple[str, str]]:
        """File and name of each function, in order."""
        return [(_file(code), code.co_qualname) for code in self._functions]

    @property
    def stays(self) -> list[str]:
        """The files in order; functions in one file that follow each other are one stay."""
        files = [file for file, _ in self.functions]
        return [file for before, file in zip(["", *files], files, strict=False) if file != before]

    def stays_in(self, file: str) -> int:
        """How often the walk comes to a file."""
        return Counter(self.stays)[file]

    def __str__(self) -> str:
        stays, files = len(self.stays), len(set(self.stays))
        total = f"{files} files, {stays} stays, {stays - files} returns, {self.stays_in(DELIVER)} stays in {DELIVER}"
        return "\n".join([*(f"{file}: {name}" for file, name in self.functions), total])

    def trace(self, frame: FrameType, event: str, _argument: object) -> None:
        """Note a function of the delivery when it is called."""
        code = frame.f_code
        if event != "call" or not code.co_filename.startswith(PACKAGES):
            return
        if code in (BEGIN, END):  # what is submitted later is another walk
            _is_in_delivery.set(code is BEGIN)
        if _is_in_delivery.get() or _is_in_its_transaction(frame):
            self._functions.setdefault(code)


def _file(code: CodeType) -> str:
    return code.co_filename.removeprefix(f"{ROOT}/")


def _is_in_its_transaction(frame: FrameType | None) -> bool:
    """Whether the writing thread runs the delivery's part of a transaction."""
    while frame is not None:
        if _file(frame.f_code) == DELIVER and not frame.f_code.co_qualname.startswith(BESIDE):
            return True
        frame = frame.f_back
    return False


@contextmanager
def followed() -> Iterator[Walk]:
    """The walk of the one delivery within; the threads of its database must start within, too."""
    walk = Walk()
    threading.setprofile(walk.trace)
    sys.setprofile(walk.trace)
    try:
        yield walk
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
