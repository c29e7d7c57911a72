"""Reads a prompt as text and parameters, and writes it with other parameters. Pure; takes time in proportion to the prompt.

What counts as a parameter: `--name` at the beginning of a word, `—name` or `–name` (which phones make of two dashes) if the name is
known, and a known name at the end of a word ("cat--zoom 1.8"). Case does not matter. The value is what follows: after a space,
after `=`, or directly ("--ar16:9").

Sources of names, values and defaults: Midjourney's parameter list (docs.midjourney.com, "Parameter List") and that of vendors
(docs.evolink.ai, prompt guides of versions 7 and 8.1).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

from midjourney.nearest import nearest

Kind = Literal["number", "word", "ratio", "rest", "flag"]
"""What follows a name: a number, one word, a ratio, everything up to the next parameter, or nothing."""

KINDS: dict[str, Kind] = {
    "ar": "ratio",
    "version": "number",
    "niji": "number",
    "stylize": "number",
    "chaos": "number",
    "quality": "number",
    "weird": "number",
    "exp": "number",
    "iw": "number",
    "seed": "number",
    "sameseed": "number",
    "stop": "number",
    "repeat": "number",
    "zoom": "number",
    "sw": "number",
    "sv": "number",
    "cw": "number",
    "ow": "number",
    "bs": "number",
    "style": "word",
    "motion": "word",
    "no": "rest",
    "sref": "rest",
    "cref": "rest",
    "oref": "rest",
    "profile": "rest",
    "end": "rest",
    "raw": "flag",
    "tile": "flag",
    "video": "flag",
    "loop": "flag",
    "draft": "flag",
    "hd": "flag",
    "fast": "flag",
    "relax": "flag",
    "turbo": "flag",
    "test": "flag",
    "testp": "flag",
    "creative": "flag",
    "upbeta": "flag",
    "uplight": "flag",
}
"""Every known parameter by the name that it has here."""

ALIASES = {
    "aspect": "ar",
    "v": "version",
    "s": "stylize",
    "c": "chaos",
    "q": "quality",
    "w": "weird",
    "r": "repeat",
    "p": "profile",
}
"""Other spellings, and the names that they stand for."""

NAMES = frozenset(KINDS) | frozenset(ALIASES)

Value = str | int | float | bool | Sequence[str] | None
"""What a parameter may be set to. None and False remove it."""

_DASHES = "--", "\u2014", "\u2013"
_TOKEN = re.compile(r"\S+")
_LETTERS = re.compile(r"[A-Za-z]+")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)")
RATIO = re.compile(r"(\d{1,9})[:\uff1a](\d{1,9})")
_FORMS = {"number": NUMBER, "ratio": RATIO}
_LINK = re.compile(r"<?https?://\S+", re.IGNORECASE)


class Parameter(msgspec.Struct, frozen=True):
    """One parameter: its name here (as written, in lower case, if it is unknown), its value, and the text of both.

    `spelling` is the name by which Midjourney tells it from others: `--style raw` is the parameter "raw", spelt "style".
    """

    name: str
    spelling: str
    value: str
    text: str


class Prompt(msgspec.Struct, frozen=True):
    """A prompt: the pieces of text around its parameters, and the parameters, in their order."""

    texts: tuple[str, ...]
    parameters: tuple[Parameter, ...]

    @property
    def words(self) -> str:
        """The text without parameters and links, with one space between words."""
        return " ".join(word for text in self.texts for word in text.split() if _LINK.match(word) is None)


class _Start(msgspec.Struct, frozen=True):
    """Where a parameter begins: the end of the text before it, its name, and a value in the same word (None: not there)."""

    at: int
    name: str
    value: str | None


def canonical(name: str) -> str:
    """The name here of a parameter, of any spelling."""
    name = name.casefold()
    return ALIASES.get(name, name)


def parse(prompt: str) -> Prompt:
    """Read a prompt. Never raises: what cannot be read is text."""
    tokens = [
        (found.start(), found.end(), _start(found[0], found.start())) for found in _TOKEN.finditer(prompt)
    ]
    texts, parameters = [], []
    text_from = index = 0
    while index < len(tokens):
        _, end, start = tokens[index]
        index += 1
        if start is None:
            continue
        texts.append(prompt[text_from : start.at])
        if start.value is None or _takes(start.name, start.value) == "rest":
            taken = _following(prompt, tokens, index, start.name)
            end, index = (tokens[index + taken - 1][1], index + taken) if taken else (end, index)
        parameters.append(_parameter(start, prompt[start.at : end]))
        text_from = end
    texts.append(prompt[text_from:])
    return Prompt(tuple(text.strip() for text in texts if text.strip()), tuple(parameters))


def _start(token: str, at: int) -> _Start | None:
    """The parameter that begins in a word."""
    for dashes in _DASHES:
        if token.startswith(dashes):
            return _named(token[len(dashes) :], at, known_only=dashes != "--")
    before, dashes, body = token.partition("--")
    name, _, value = body.partition("=")
    if dashes and "://" not in before and canonical(name) in KINDS:
        return _Start(at + len(before), canonical(name), value or None)
    return None


def _named(body: str, at: int, *, known_only: bool) -> _Start | None:
    name, _, value = body.partition("=")
    if canonical(name) in KINDS:
        return _Start(at, canonical(name), value or None)
    letters = _LETTERS.match(body)
    if letters is not None and canonical(letters[0]) in KINDS and NUMBER.match(body, letters.end()):
        return _Start(at, canonical(letters[0]), body[letters.end() :])
    if known_only or _NAME.fullmatch(name) is None:
        return None
    return _Start(at, name.casefold(), value or None)


def _takes(name: str, value: str | None) -> Kind:
    """What follows a name; a known parameter that has its value in the same word takes no more."""
    return KINDS.get(name, "rest") if value is None or name not in KINDS else "flag"


def _following(prompt: str, tokens: Sequence[tuple[int, int, _Start | None]], index: int, name: str) -> int:
    """How many of the words from `index` on are the value of a parameter."""
    kind = KINDS.get(name, "rest")
    most = {"flag": 0, "rest": len(tokens)}.get(kind, 1)
    count = 0
    while count < most and index + count < len(tokens) and tokens[index + count][2] is None:
        count += 1
    if count and kind in ("number", "ratio"):
        begin, end, _ = tokens[index]
        return count if NUMBER.match(prompt[begin:end]) else 0
    return count


def _parameter(start: _Start, text: str) -> Parameter:
    following = text.split(None, 1)[1:]
    value = " ".join([*([start.value] if start.value else []), *following])
    value = value.rstrip(" ,;") if KINDS.get(start.name, "rest") != "rest" else value
    name = "raw" if start.name == "style" and value.casefold() == "raw" else start.name
    return Parameter(name, start.name, value, text)


def with_param(prompt: str, name: str, value: Value) -> str:
    """The prompt with a parameter set to a value: one that it has, in any spelling, is replaced; else the parameter is added.

    True adds a flag; False and None remove the parameter. Raises `ValueError` for an unknown name, and for a value that the
    parameter cannot have.
    """
    check_name(name)
    if value is None or value is False:
        return without_param(prompt, name)
    new = parse(f"--{name.strip()} {_checked(name, value)}".strip()).parameters[0]
    read = parse(prompt)
    kept: list[Parameter] = []
    is_placed = False
    for old in read.parameters:
        if old.name != new.name and old.spelling != new.spelling:
            kept.append(old)
        elif not is_placed:
            kept.append(new)
            is_placed = True
    return _written(read, kept if is_placed else [*kept, new])


def without_param(prompt: str, *names: str) -> str:
    """The prompt without these parameters, in any spelling. Raises `ValueError` for an unknown name."""
    for name in names:
        check_name(name)
    unwanted = {canonical(name.strip()) for name in names}
    read = parse(prompt)
    kept = [old for old in read.parameters if old.name not in unwanted and old.spelling not in unwanted]
    return prompt if len(kept) == len(read.parameters) else _written(read, kept)


def check_name(name: object) -> None:
    """Raises `ValueError`, with the nearest name, if no parameter has this name."""
    if not isinstance(name, str) or canonical(name.strip()) not in KINDS:
        raise ValueError(f"unknown parameter {name!r}.{nearest(str(name), NAMES)}")


def _written(read: Prompt, parameters: Sequence[Parameter]) -> str:
    """The text, then the parameters. Midjourney wants text before parameters, so this moves text that stood between them."""
    return " ".join((*read.texts, *(parameter.text for parameter in parameters)))


def _checked(name: str, value: object) -> str:
    """A value as it stands in a prompt. Raises `ValueError` if reading it gives another value."""
    kind = KINDS[canonical(name.strip())]
    if value is True:
        text = ""
    elif isinstance(value, float) and value.is_integer():
        text = str(int(value))
    elif isinstance(value, list | tuple):
        text = " ".join(str(one) for one in value)
    else:
        text = " ".join(str(value).split())
    if kind == "flag":
        problem = "takes no value: write true or false" if text else ""
    elif any(_start(word, 0) is not None for word in text.split()):
        problem = "takes no other parameters"
    elif not text and kind != "rest":
        problem = "needs a value"
    elif kind in _FORMS and _FORMS[kind].fullmatch(text) is None:
        problem = f"needs a {kind}"
    elif kind != "rest" and " " in text:
        problem = "takes one word"
    else:
        problem = ""
    if problem:
        raise ValueError(f"{name} = {value!r}: --{name} {problem}")
    return text


_MARK = re.compile(r"[1-9]\ufe0f?\u20e3")
_NUMBERED = re.compile(r"\s*[1-9]\s*[.):\u3001\uff1a]\s+")
_MARKDOWN_LINK = re.compile(r"\[([^\[\]()]*)\]\(<?https?://[^()\s]*\)")


def described(text: str) -> tuple[str, ...]:
    """The prompts in the result of a describe: without numbers, links and line breaks.

    Midjourney numbers them with keycap emoji, one paragraph each. A relay may have removed the emoji.
    """
    pieces = _MARK.split(text)[1:] if _MARK.search(text) else list(_paragraphs(text))
    cleaned = (" ".join(_MARKDOWN_LINK.sub(r"\1", piece).split()) for piece in pieces)
    return tuple(piece for piece in cleaned if piece)


def _paragraphs(text: str) -> Iterator[str]:
    for line in text.splitlines():
        yield _NUMBERED.sub("", line, count=1) if _NUMBERED.match(line) else line
