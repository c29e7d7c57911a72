"""The language of a page: English, or Chinese if the browser prefers it to English."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import msgspec

LANGUAGES = ("en", "zh")
DIRECTORY = Path(__file__).parent / "locales"

Gettext = Callable[[str], str]


@cache
def catalogue(language: str) -> dict[str, str]:
    """Return the translations of a language by their English text; a text that is not in it stays English."""
    if language == "en":
        return {}
    return msgspec.json.decode((DIRECTORY / f"{language}.json").read_bytes(), type=dict[str, str])


def gettext_of(language: str) -> Gettext:
    """Return the function that translates into a language."""
    known = catalogue(language)
    return lambda text: known.get(text, text)


def language_of(accept_language: str) -> str:
    """Return which of our languages an Accept-Language header (RFC 9110, 12.5.4) prefers; "en" if it names none."""
    best, best_weight = "en", 0.0
    for part in accept_language.lower().split(","):
        tag, _, parameters = part.strip().partition(";")
        name = parameters.strip().removeprefix("q=").strip()
        try:
            weight = float(name) if name else 1.0
        except ValueError:
            weight = 0.0
        language = tag.partition("-")[0]
        if language in LANGUAGES and weight > best_weight:
            best, best_weight = language, weight
    return best
