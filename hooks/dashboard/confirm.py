"""Confirmation before an action: a script asks (`hx-confirm`); if scripts do not run, a page asks."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from hooks.dashboard.render import answer, is_partial, translated

CONFIRMED = "sure"
"""The form field that confirms the action."""


def confirmation_page(
    request: Request, form: dict[str, str], question: str, *, back: str = "/operations"
) -> Response | None:
    """Return a page that asks the question and sends the same form again; None if the person has already been asked. `back`: where
    "no" leads."""
    if is_partial(request) or form.get(CONFIRMED) == "1":
        return None
    fields = {name: value for name, value in form.items() if name != CONFIRMED} | {CONFIRMED: "1"}
    return answer(request, "sure.html", question=translated(request, question), fields=fields, back=back)
