"""An open modal, as receivers see it."""

from __future__ import annotations

import msgspec


class OpenModal(msgspec.Struct, frozen=True, kw_only=True):
    """A modal that needs an answer. `prompt` is what it shows: Midjourney's text, else that of the parent.

    `kind` is what was pressed ("custom_zoom", "vary_region" …), `needs_mask` whether an answer without one is refused.
    `image_url`, `image_width` and `image_height` (pixels, 0 if unknown) describe the picture behind it.
    """

    task_id: str
    prompt: str
    label: str = ""
    kind: str = ""
    custom_id: str = ""
    image_url: str = ""
    image_width: int = 0
    image_height: int = 0

    @property
    def needs_mask(self) -> bool:
        """True for Vary Region."""
        return self.kind == "vary_region"
