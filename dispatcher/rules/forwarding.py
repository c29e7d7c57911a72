"""The body and the headers of a forwarded message, as a rule writes them.

A value that is filled in goes through the encoder of JSON, and never into its text: whatever a prompt contains, it stays one value.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Literal, cast

import msgspec

from dispatcher.effects import headers as rules_of_headers
from dispatcher.plugins.errors import GiveUp, RuleError
from dispatcher.rules.expressions import Evaluator, Names, compile_template, compile_value
from dispatcher.rules.model import ForwardTo
from dispatcher.rules.variables import Variables

Body = Literal["event", "task"] | bytes

MOST_BYTES = 4 * 1024 * 1024
"""The most bytes of a body: those of four lists of joins."""

_KNOWN = ("event", "task")
_OWN = 'Write one of these, or json = { picture = "{{ task.image_url }}" } for your own JSON'
_CONTENT_TYPE = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+(\s*;\s*[\w-]+=[\w\"./+-]+)*", re.ASCII)

_Fill = Callable[[Names], Awaitable[object]]


class OwnMessage(msgspec.Struct, frozen=True, kw_only=True):
    """Makes the body and the headers of a message for an event."""

    body: Callable[[Names], Awaitable[Body]]
    headers: Callable[[Names], Awaitable[Mapping[str, str]]]
    content_type: str


def own_message(to: ForwardTo, evaluator: Evaluator, variables: Variables) -> OwnMessage:
    """Compile what a rule says. Raises `RuleError` and `GiveUp` for a mistake."""
    headers = {name: _header(name, value, evaluator, variables) for name, value in to.headers.items()}
    if len({name.lower() for name in headers}) < len(headers):
        raise GiveUp("two of the headers have the same name")

    async def filled(names: Names) -> Mapping[str, str]:
        return {name: str(await header(names)) for name, header in headers.items()}

    body, content_type = _body(to, evaluator, variables)
    return OwnMessage(body=body, headers=filled, content_type=content_type)


def _body(
    to: ForwardTo, evaluator: Evaluator, variables: Variables
) -> tuple[Callable[[Names], Awaitable[Body]], str]:
    if to.content_type and not _CONTENT_TYPE.fullmatch(to.content_type):
        raise GiveUp(
            f'{to.content_type!r} is not a content type; write one such as "text/plain; charset=utf-8"'
        )
    if to.json is not None:
        if to.body != "event":
            raise GiveUp("json and body both set the body: leave one of them out")
        fill = _compiled(to.json, "json", evaluator, variables)

        async def encoded(names: Names) -> Body:
            return _bounded(msgspec.json.encode(await fill(names)))

        return encoded, to.content_type or "application/json"
    if to.body in _KNOWN:
        if to.content_type:
            raise GiveUp(f"body = {to.body!r} is JSON: leave content_type out, or write a body of your own")
        known = cast(Literal["event", "task"], to.body)

        async def usual(_names: Names) -> Body:
            return known

        return usual, "application/json"
    if "{{" not in to.body and "{%" not in to.body:
        meant = difflib.get_close_matches(to.body, _KNOWN, n=1)
        remedy = f'Did you mean "{meant[0]}"?' if meant else _OWN
        raise GiveUp(f'body = {to.body[:80]!r} is not "event", "task" or a template. {remedy}')
    text = _text(to.body, "body", evaluator, variables)

    async def written(names: Names) -> Body:
        return _bounded((await text(names)).encode("utf-8", "replace"))

    return written, to.content_type or "text/plain; charset=utf-8"


def _bounded(body: bytes) -> bytes:
    if len(body) > MOST_BYTES:
        raise RuleError(f"the body has {len(body)} bytes, more than {MOST_BYTES}")
    return body


def _compiled(value: object, where: str, evaluator: Evaluator, variables: Variables) -> _Fill:
    """A value of TOML whose texts are templates, at any depth."""
    match value:
        case str():
            return _hiding(value, where, lambda: compile_value(value, evaluator, variables))
        case dict():
            fields = {
                name: _compiled(one, f"{where}.{name}", evaluator, variables) for name, one in value.items()
            }
            if dead := next((name for name in fields if "{{" in name), None):
                raise GiveUp(
                    f"{where} has the key {dead!r}: keys are sent as they stand, and cannot be templates"
                )

            async def table(names: Names) -> object:
                return {name: await field(names) for name, field in fields.items()}

            return table
        case list():
            items = [_compiled(one, f"{where}[{at}]", evaluator, variables) for at, one in enumerate(value)]

            async def array(names: Names) -> object:
                return [await item(names) for item in items]

            return array
        case bool() | int() | float():

            async def constant(_names: Names) -> object:
                return value

            return constant
    raise GiveUp(f"{where} is a date or a time, which JSON does not have: write it as a text in quotes")


def _header(name: str, value: str, evaluator: Evaluator, variables: Variables) -> _Fill:
    rules_of_headers.check_name(name)
    if "{" not in value:
        rules_of_headers.encoded({name: value})
    return _text(value, f"the header {name}", evaluator, variables)


def _text(
    source: str, where: str, evaluator: Evaluator, variables: Variables
) -> Callable[[Names], Awaitable[str]]:
    fill = _hiding(source, where, lambda: compile_template(source, evaluator, variables))

    async def text(names: Names) -> str:
        return str(await fill(names))

    return text


def _hiding(source: str, where: str, compiled: Callable[[], _Fill]) -> _Fill:
    """Compile a text. Errors name the place instead of the text, which may contain a secret (`${KEY}`)."""

    def hidden(error: RuleError) -> RuleError:
        return RuleError(str(error).replace(repr(source), where))

    try:
        fill = compiled()
    except RuleError as error:
        raise hidden(error) from None

    async def filled(names: Names) -> object:
        try:
            return await fill(names)
        except RuleError as error:
            raise hidden(error) from None

    return filled
