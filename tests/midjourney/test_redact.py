"""What people are shown of a request, and what comes back of it once they have edited that."""

from __future__ import annotations

from typing import Any

import pytest

from midjourney.redact import redacted, restored, shortened

A, B, TWIN = (
    f"data:image/png;base64,{letter * length}" for letter, length in (("A", 60), ("B", 90), ("C", 60))
)


def shown(whole: Any) -> Any:
    return shortened(redacted(whole))


@pytest.mark.parametrize(
    "whole",
    [
        {"prompt": "a cat", "images": [A, B, TWIN]},
        {"prompt": "a cat", "mask": A, "extra": {"notifyHook": "https://h/secret", "deep": [{"x": B}]}},
        {"prompt": "x" * 300},
    ],
)
def test_what_is_left_as_it_was_shown_is_as_it_was(whole: Any) -> None:
    """Images are whole again and hooks are known again, also beside words that were edited."""
    assert restored(shown(whole), whole) == whole
    assert restored(shown(whole) | {"prompt": "a dog"}, whole) == whole | {"prompt": "a dog"}


@pytest.mark.parametrize(
    ("images", "back"),
    [
        ([A, B], [A, B]),
        ([B], [B]),
        ([B, A], [B, A]),
        ([], []),
        ([B, "https://x/new.png"], [B, "https://x/new.png"]),
    ],
)
def test_images_are_known_by_how_they_are_shown(images: list[str], back: list[str]) -> None:
    """Also where some are gone, or in another order."""
    edited = {"images": [shown(one) for one in images]}
    assert restored(edited, {"images": [A, B]}) == {"images": back}


def test_of_images_that_look_alike_none_is_guessed() -> None:
    """Which of the two was taken out cannot be told: what stays cut is no image, and is refused."""
    assert shown(A) == shown(TWIN)
    assert restored({"images": [shown(A)]}, {"images": [A, TWIN]}) == {"images": [shown(A)]}


def test_a_hook_in_what_was_edited_beside_it() -> None:
    """The secret itself is kept, whatever changed around it."""
    whole = {"extra": {"notifyHook": "https://h/secret", "speed": "slow"}}
    edited = {"extra": {"notifyHook": "[redacted]", "speed": "fast"}}
    assert restored(edited, whole) == {"extra": {"notifyHook": "https://h/secret", "speed": "fast"}}
