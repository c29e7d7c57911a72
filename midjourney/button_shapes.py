"""Reads the buttons of a payload in all known formats, and describes the format of those that it cannot read.

It reads an array of objects, rows of these (webman-php), rows as Discord sends them (`components`), all of these as JSON text, and
`custom_id` for `customId`. It does not guess at objects with other keys, because their meaning is unknown, and a press costs money.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from midjourney.bodies import container_of
from midjourney.buttons import Button
from midjourney.wrapping import article

_DEEPEST_ROW = 4
_MOST_KEYS = 6
_KEY = re.compile(r"[A-Za-z_]\w{0,23}", re.ASCII)


def read_buttons(value: object) -> tuple[tuple[Button, ...], str]:
    """The readable buttons, in order, and a description of the others; "" if there are none.

    The description contains no values of the payload, which may be secret.
    """
    buttons: list[Button] = []
    unread: Counter[str] = Counter()
    for entry in _entries(container_of(value), _DEEPEST_ROW):
        if (button := _button(entry)) is not None:
            buttons.append(button)
        else:
            unread[_shape(entry)] += 1
    shapes = [shape if count == 1 else f"{count} times {shape}" for shape, count in unread.most_common(3)]
    description = ", ".join(shapes)
    if description and buttons:
        description += f" ({len(buttons)} others can be read)"
    return tuple(buttons), description


def _entries(value: object, deeper: int) -> Iterator[object]:
    if isinstance(value, list) and deeper:
        for entry in value:
            yield from _entries(entry, deeper - 1)
    elif isinstance(value, dict) and isinstance(value.get("components"), list) and deeper:
        yield from _entries(value["components"], deeper - 1)
    elif value not in (None, "", [], {}):
        yield value


def _button(entry: object) -> Button | None:
    if not isinstance(entry, dict):
        return None
    emoji = entry.get("emoji")
    if isinstance(emoji, dict):  # as Discord sends it
        emoji = emoji.get("name")
    custom_id, label = _text(entry.get("customId", entry.get("custom_id"))), _text(entry.get("label"))
    if not (custom_id or label or _text(emoji)):
        return None
    return Button(
        custom_id=custom_id,
        label=label,
        emoji=_text(emoji),
        type=_number(entry.get("type")),
        style=_number(entry.get("style")),
    )


def _text(value: object) -> str:
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _shape(value: object) -> str:
    """A description of an entry by JSON types and field names."""
    if isinstance(value, dict):
        names = [key if _KEY.fullmatch(key) else "…" for key in value][:_MOST_KEYS]
        more = ", …" if len(value) > _MOST_KEYS else ""
        return f"an object with {', '.join(names)}{more}"
    if isinstance(value, str):
        return f"a string of {len(value)} characters"
    return article(value)
