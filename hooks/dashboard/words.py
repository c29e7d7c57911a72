"""The language of a page: English, or Chinese where the browser asks for it before English."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import msgspec

LANGUAGES = ("en", "zh")
DIRECTORY = Path(__file__).parent / "locales"

Gettext = Callable[[str], str]


@cache
def words(language: str) -> dict[str, str]:
    """English sentences to those of a language; what is not in it stays English."""
    if language == "en":
        return {}
    return msgspec.json.decode((DIRECTORY / f"{language}.json").read_bytes(), type=dict[str, str])


def gettext_of(language: str) -> Gettext:
    """The translation into a language."""
    known = words(language)
    return lambda text: known.get(text, text)


def language_of(accept_language: str) -> str:
    """The one of our languages that an Accept-Language header (RFC 9110, 12.5.4) likes best."""
    best, liked = "en", 0.0
    for part in accept_language.lower().split(","):
        tag, _, parameters = part.strip().partition(";")
        name = parameters.strip().removeprefix("q=").strip()
        try:
            weight = float(name) if name else 1.0
        except ValueError:
            weight = 0.0
        language = tag.partition("-")[0]
        if language in LANGUAGES and weight > liked:
            best, liked = language, weight
    return best
