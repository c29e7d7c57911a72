"""Answer a window with the prompt it shows, zoomed out, as the rule `answer-modal` does."""

from __future__ import annotations

from typing import Any

from hookchain import Chain, Modal, submission_needs_modal


@submission_needs_modal.connect
async def answer_modal(action: str, *, modal: Modal, chain: Chain, **_: Any) -> None:
    """Answer Custom Zoom. Vary Region is left to you: it needs a mask."""
    if modal.kind == "custom_zoom":
        await chain.modal(prompt=f"{modal.prompt} --zoom 1.8")
