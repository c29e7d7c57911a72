"""What all submits share: is there a place, may the words be used, is that an image."""

from __future__ import annotations

import base64
import binascii
import re

from midjourney.sandbox.engine import Engine, Order
from midjourney.sandbox.wire import Answer

BANNED_WORDS = ("nude",)


class Desk:
    """Takes orders for an engine, or says why not."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.manner = engine.manner

    def prompted(self, kind: str, order: Order, now_ms: int) -> Answer:
        """An order that depends on words."""
        if not order.prompt.strip():
            return Answer(code=4, description="prompt不能为空")
        for word in BANNED_WORDS:
            if re.search(rf"\b{word}\b", order.prompt, re.IGNORECASE):
                return banned(order.prompt, word)
        return self.submit(kind, order, now_ms)

    def submit(self, kind: str, order: Order, now_ms: int) -> Answer:
        """Any order: accepted, or refused for want of a place."""
        if self.engine.is_full:
            return self.engine.full()
        return self.engine.accept(kind, self.engine.new(order, now_ms), now_ms)

    def is_image(self, text: str) -> bool:
        """Whether a field holds an image in base64, or an address where those are taken."""
        if text.startswith(("http://", "https://")):
            return self.manner.shape in ("tru", "go")
        try:
            data = base64.b64decode(text.partition(";base64,")[2] or text, validate=True)
        except (binascii.Error, ValueError):
            return False
        return data.startswith((b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF"))


def banned(prompt: str, word: str) -> Answer:
    """The answer to a prompt with a forbidden word."""
    return Answer(
        code=24,
        description="May contain sensitive words",
        properties={"promptEn": prompt, "bannedWord": word},
    )
