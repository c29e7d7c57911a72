"""Reads the regular expressions of rules: Python's syntax without back-references and look-around. Pure."""

from __future__ import annotations

import re

import msgspec

LONGEST = 1_000
"""The most characters of a pattern."""

DEEPEST = 30
"""The most parentheses inside each other."""

MOST_TIMES = 250
"""The largest number in braces."""

_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v"}
_BRACES = re.compile(r"\{(\d{1,3})(?:(,)(\d{1,3})?)?\}")
_NO = "back-references and look-around can take for ever, so rules do not have them"


class Character:
    """Takes one character."""

    def __init__(self, pattern: str, flags: re.RegexFlag) -> None:
        self._one = re.compile(pattern, flags)

    def takes(self, character: str) -> bool:
        """True if this is such a character."""
        return self._one.fullmatch(character) is not None


class Assertion(msgspec.Struct, frozen=True):
    """Holds at a place: "^" at the beginning, "$" at the end, "b" at the edge of a word, "B" elsewhere."""

    kind: str


class Sequence(msgspec.Struct, frozen=True):
    """One part after the other."""

    parts: tuple[Node, ...]


class Choice(msgspec.Struct, frozen=True):
    """One of the parts."""

    parts: tuple[Node, ...]


class Repeat(msgspec.Struct, frozen=True):
    """A part so many times; `most` is None for any number."""

    part: Node
    least: int
    most: int | None


Node = Character | Assertion | Sequence | Choice | Repeat


def parsed(pattern: object) -> Node:
    """The parts of a pattern. Raises `ValueError` that says what is wrong and where."""
    if not isinstance(pattern, str):
        raise ValueError(f"the pattern {pattern!r} is not a text")
    if len(pattern) > LONGEST:
        raise ValueError(f"the pattern has {len(pattern)} characters, more than {LONGEST}")
    if "\b" in pattern:
        raise ValueError(
            f"the pattern {pattern!r} contains a backspace, since \\b in quotes is one; write each backslash of a pattern"
            " twice, and put the whole key into '''…'''"
        )
    return _Reader(pattern).whole()


class _Reader:
    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        ignores_case = pattern.startswith("(?i)")
        self._flags = re.IGNORECASE if ignores_case else re.NOFLAG
        self._at = 4 if ignores_case else 0
        self._depth = 0

    def whole(self) -> Node:
        node = self._choice()
        if self._at < len(self._pattern):
            raise self._wrong("there is no ( for this )")
        return node

    def _wrong(self, problem: str) -> ValueError:
        return ValueError(f"the pattern {self._pattern!r} at character {self._at + 1}: {problem}")

    def _next(self, most: int = 1) -> str:
        return self._pattern[self._at : self._at + most]

    def _take(self) -> str:
        taken = self._next()
        if not taken:
            raise self._wrong("it ends too early")
        self._at += 1
        return taken

    def _choice(self) -> Node:
        parts = [self._sequence()]
        while self._next() == "|":
            self._at += 1
            parts.append(self._sequence())
        return parts[0] if len(parts) == 1 else Choice(tuple(parts))

    def _sequence(self) -> Node:
        parts = []
        while self._next() not in ("", "|", ")"):
            parts.append(self._repeated())
        return Sequence(tuple(parts))

    def _repeated(self) -> Node:
        node = self._atom()
        times = self._times()
        if times is None:
            return node
        if isinstance(node, Assertion):
            raise self._wrong("nothing to repeat")
        if self._next() == "?":  # as few as possible: no difference for whether it occurs
            self._at += 1
        if self._times() is not None:
            raise self._wrong("it is repeated already; put parentheses around it")
        return Repeat(node, *times)

    def _times(self) -> tuple[int, int | None] | None:
        simple: dict[str, tuple[int, int | None]] = {"*": (0, None), "+": (1, None), "?": (0, 1)}
        if (sign := self._next()) in simple:
            self._at += 1
            return simple[sign]
        braces = _BRACES.match(self._pattern, self._at)
        if braces is None:
            return None
        least = int(braces[1])
        most = least if braces[2] is None else int(braces[3]) if braces[3] else None
        if max(least, most or 0) > MOST_TIMES or (most is not None and most < least):
            raise self._wrong(f"{braces[0]} is not from few to many, up to {MOST_TIMES}")
        self._at = braces.end()
        return least, most

    def _atom(self) -> Node:
        character = self._take()
        if character == "(":
            return self._group()
        if character == "[":
            return self._set()
        if character in "^$":
            return Assertion(character)
        if character == ".":
            return Character(".", self._flags)
        if character in "*+?":
            self._at -= 1
            raise self._wrong("nothing to repeat")
        if character != "\\":
            return Character(re.escape(character), self._flags)
        escaped = self._take()
        if escaped in "bB":
            return Assertion(escaped)
        if escaped in "AZ":
            return Assertion("^" if escaped == "A" else "$")
        return Character(self._escape(escaped), self._flags)

    def _group(self) -> Node:
        self._depth += 1
        if self._depth > DEEPEST:
            raise self._wrong(f"more than {DEEPEST} parentheses are open")
        if self._next() == "?":
            if self._next(2) == "?:":
                self._at += 2
            elif (name := re.compile(r"\?P<\w+>").match(self._pattern, self._at)) is not None:
                self._at = name.end()
            else:
                raise self._wrong(f"(?{self._pattern[self._at + 1 : self._at + 2]} is not supported: {_NO}")
        node = self._choice()
        if self._next() != ")":
            raise self._wrong("a ( is not closed")
        self._at += 1
        self._depth -= 1
        return node

    def _escape(self, escaped: str) -> str:
        """The pattern of one character for what follows a backslash."""
        if escaped in "dDwWsS":
            return f"\\{escaped}"
        if escaped in _ESCAPED:
            return re.escape(_ESCAPED[escaped])
        if escaped.isdecimal():
            raise self._wrong(f"\\{escaped} is not supported: {_NO}")
        if escaped.isalpha():
            raise self._wrong(f"\\{escaped} is unknown")
        return re.escape(escaped)

    def _set(self) -> Node:
        sign = ""
        if self._next() == "^":
            sign = self._take()
        items: list[str] = []
        while self._next() != "]" or not items:
            first = self._item()
            if self._next() == "-" and self._next(2)[1:] not in ("]", ""):
                self._at += 1
                last = self._item()
                try:
                    re.compile(f"[{first}-{last}]")
                except re.error:
                    raise self._wrong(f"{first}-{last} is not a range") from None
                items.append(f"{first}-{last}")
            else:
                items.append(first)
        self._at += 1
        return Character(f"[{sign}{''.join(items)}]", self._flags)

    def _item(self) -> str:
        taken = self._take()
        if taken == "\\":
            return self._escape(self._take())
        return f"\\{taken}" if taken in "[]^-&|~\\" else taken
