"""Answer a Custom Zoom modal with its own prompt and a zoom factor, as the rule `answer-modal` does."""

from __future__ import annotations

from hookchain import Chain, Modal, submission_needs_modal, with_param


@submission_needs_modal.connect
async def answer_modal(action: str, *, modal: Modal, chain: Chain, **_: object) -> None:
    """Answer Custom Zoom. Vary Region is left to you: it needs a mask."""
    if modal.kind == "custom_zoom":
        await chain.modal(prompt=with_param(modal.prompt, "zoom", 1.8))
