"""Refuses what a plugin cannot have meant, before anything is staged: unknown options, wrong kinds of arguments. Pure.

These raise `GiveUp`, not `TypeError`: the same code would be wrong again at the next try, so the delivery becomes a dead letter at
once, which names the mistake. It can be retried once the plugin is corrected.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from dispatcher.plugins.errors import GiveUp
from dispatcher.plugins.submit_options import invalid_option, unknown_option
from dispatcher.plugins.zooms import InvalidZoom, zoom_of
from midjourney.buttons import Button
from midjourney.nearest import nearest
from midjourney.requests import Action, Request, decode_request, encode_request


def check_options(what: str, options: Mapping[str, object]) -> None:
    """Raises `GiveUp` for an option that is unknown or invalid."""
    if mistake := unknown_option(options) or invalid_option(options):
        raise GiveUp(f"{what}: {mistake}")


def one_of(method: str, value: object, known: Sequence[str]) -> str:
    """The kind of button for an argument such as "left". Raises `GiveUp` for any that is not known."""
    if not isinstance(value, str) or value not in known:
        raise GiveUp(f"{method}: {value!r} is unknown.{nearest(str(value), known)}")
    return f"{method}_{value}"


def button_names(buttons: Sequence[object]) -> list[str]:
    """The names of the buttons to press. Raises `GiveUp` if there are none, and for what is neither a name nor a button."""
    if not buttons:
        raise GiveUp('press: no button is named. Write chain.press("U1")')
    return [_button_name(button) for button in buttons]


def _button_name(button: object) -> str:
    if isinstance(button, Button):
        return button.custom_id or button.name
    if isinstance(button, list | tuple | set):
        raise GiveUp(f'press: {button!r} is a list. Write chain.press(*buttons), or chain.press("U1", "U2")')
    if not isinstance(button, str) or not button.strip():
        raise GiveUp(f'press: {button!r} names no button. Write "U1", "U*", or a kind such as "upscale"')
    return button


def zoom_button(factor: object) -> tuple[str, float]:
    """The kind of button for a zoom, and the factor for its modal, 0 if it is not to be answered. Raises `GiveUp`."""
    try:
        return zoom_of(factor)
    except InvalidZoom as error:
        raise GiveUp(f"zoom: {error}") from error


def with_zoom(press: Request, factor: float) -> Request:
    """The press with the factor that answers its modal."""
    return msgspec.structs.replace(press, zoom=factor) if factor and isinstance(press, Action) else press


def checked_request(what: str, request: Request) -> bytes:
    """A request as it is stored. Raises `GiveUp` if a field has a wrong kind of value: the request could not be read again."""
    try:
        encoded = encode_request(request)
        decode_request(encoded)
    except (msgspec.ValidationError, TypeError) as error:
        raise GiveUp(f"{what}: {error}") from error
    return encoded
