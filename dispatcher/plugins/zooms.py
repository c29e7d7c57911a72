"""Zoom factors: the button for each, for rules and for plugins. Pure."""

from __future__ import annotations

_BUTTONS = {2.0: "zoom_out_2x", 1.5: "zoom_out_1.5x"}


class InvalidZoom(ValueError):
    """A zoom that Midjourney does not have. `remedy` is what to write instead."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}.{remedy}")
        self.problem = problem
        self.remedy = remedy


def zoom_of(written: object) -> tuple[str, float]:
    """The kind of button for a zoom, and the factor with which to answer its modal (0: do not answer it).

    Raises `InvalidZoom`.
    """
    text = str(written).strip().lower().removesuffix("x")
    if text == "custom":
        return "custom_zoom", 0
    try:
        factor = float(text)
    except ValueError:
        raise InvalidZoom(
            f"{written!r} is not a zoom factor", ' Write 1.5, 2, another number from 1 to 2, or "custom".'
        ) from None
    if not 1 < factor <= 2:
        raise InvalidZoom(
            f"{factor:g} is out of range", " Midjourney zooms out by a factor above 1, up to 2."
        )
    return (_BUTTONS[factor], 0) if factor in _BUTTONS else ("custom_zoom", factor)
