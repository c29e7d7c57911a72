"""Names of files and folders from texts that strangers wrote: prompts, ids, labels. Performs no I/O.

Whatever the text contains, a name is one segment of a path, on Linux, macOS, Windows and S3: it leads nowhere else and is never hidden.
"""

from __future__ import annotations

import re
import unicodedata

LONGEST_SLUG = 80
"""The most characters of a slug."""

LONGEST_BYTES = 200
"""The most bytes of a name in UTF-8: file systems allow 255, and what is added to a name needs some."""

_READ = 5_000
"""The characters of a text that are looked at: a prompt may be as long as a callback."""

_RESERVED = re.compile(
    r"(con|prn|aux|nul|conin\$|conout\$|clock\$|(com|lpt)[0-9\u00b9\u00b2\u00b3])\s*(\..*)?", re.IGNORECASE
)
"""Names of devices on Windows, with any extension."""

_FORBIDDEN = frozenset('/\\:*?"<>|')


def slug(text: str) -> str:
    """The letters and digits of a text, of any script, in lower case, with "-" between words: "A cat, --ar 3:2" gives "a-cat-ar-3-2".

    At most 80 characters. A text without letters or digits gives "untitled".
    """
    plain = unicodedata.normalize("NFKC", text[:_READ]).lower()
    words = "".join(sign if _is_of_a_word(sign) else " " for sign in plain).split()
    name = _cut("-".join(words)[:LONGEST_SLUG], LONGEST_BYTES).strip("-")
    return f"{name}-file" if _RESERVED.fullmatch(name) else name or "untitled"


def segment(text: str, *, longest_bytes: int = LONGEST_BYTES) -> str:
    """A text as the name of one folder, or the beginning of a file's name: what cannot be in a name becomes "_". A text without
    anything else gives "untitled"."""
    plain = unicodedata.normalize("NFC", text[:_READ])
    safe = "".join("_" if _is_forbidden(sign) else sign for sign in plain)
    name = _cut(safe.strip(" ."), longest_bytes).strip(" .")
    if _RESERVED.fullmatch(name):
        name = f"_{name}"
    return name if name.strip("_") else "untitled"


def _is_of_a_word(sign: str) -> bool:
    """True for letters, digits, and the marks that belong to a letter (vowels of Hindi and Thai are marks)."""
    return unicodedata.category(sign)[0] in "LNM"


def _is_forbidden(sign: str) -> bool:
    """True for what no name can have, and for signs that are not seen or that reverse what is read."""
    return sign in _FORBIDDEN or unicodedata.category(sign) in ("Cc", "Cf", "Cs", "Zl", "Zp")


def _cut(name: str, longest_bytes: int) -> str:
    return name.encode("utf-8", "replace")[:longest_bytes].decode("utf-8", "ignore")
