"""Deeds that are asked about before they are done: a script asks (`hx-confirm`); where none runs yet, a page does."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from hooks.dashboard.render import answer, is_partial, said

SURE = "sure"
"""The field that says that this is meant."""


def question_first(request: Request, form: dict[str, str], question: str) -> Response | None:
    """The page that asks, and sends the same form again; None where somebody was asked."""
    if is_partial(request) or form.get(SURE) == "1":
        return None
    fields = {name: value for name, value in form.items() if name != SURE} | {SURE: "1"}
    return answer(request, "sure.html", question=said(request, question), fields=fields, back="/operations")
