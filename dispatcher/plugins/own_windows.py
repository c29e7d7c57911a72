"""Answers the modals that plugins' zooms open: `chain.zoom(1.8)` stages a press with its factor, and this receiver the answer.

The factor is stored with the press, so the modal is answered after a restart too, by any process that has plugins. A rule answers
the modals of its presses itself.
"""

from __future__ import annotations

from dispatcher.plugins.chain import Chain
from dispatcher.plugins.open_modal import OpenModal
from dispatcher.plugins.receivers import Options
from dispatcher.plugins.signals import submission_needs_modal
from midjourney.prompts import with_param
from midjourney.requests import Action, decode_request
from storage.records import Submission

NAME = "hookchain:zoom"


def connect() -> None:
    """Connect the receiver; once, however often it is called."""
    submission_needs_modal.connect(answer_zoom)


async def answer_zoom(
    _action: str, *, modal: OpenModal, chain: Chain, submission: Submission | None, **_: object
) -> None:
    """Answer the modal of a press that has a zoom factor."""
    request = decode_request(submission.request) if submission is not None else None
    if not isinstance(request, Action) or not isinstance(request.zoom, float):
        chain.note("did not fire: no plugin's zoom opened this modal")
        return
    chain.fired = True
    chain.modal(prompt=with_param(modal.prompt, "zoom", f"{request.zoom:g}"))


answer_zoom.__hookchain__ = Options(name=NAME, harmless=True)  # type: ignore[attr-defined]  # read by options_of
