"""Checks that all submits share: free places, banned words and valid images."""

from __future__ import annotations

import base64
import binascii
import re

from midjourney.sandbox.engine import Engine
from midjourney.sandbox.jobs import Order
from midjourney.sandbox.wire import Answer

BANNED_WORDS = ("nude",)


class Admission:
    """Passes orders to an engine, or refuses them."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.profile = engine.profile

    def submit_prompt(self, kind: str, order: Order, now_ms: int) -> Answer:
        """Submit an order with a prompt. Refuses an empty prompt and banned words."""
        if not order.prompt.strip():
            return Answer(code=4, description="prompt不能为空")
        for word in BANNED_WORDS:
            if re.search(rf"\b{word}\b", order.prompt, re.IGNORECASE):
                return banned(order.prompt, word)
        return self.submit(kind, order, now_ms)

    def submit(self, kind: str, order: Order, now_ms: int) -> Answer:
        """Submit an order. Refuses it if the queue is full."""
        if self.engine.is_full:
            return self.engine.queue_full_answer()
        return self.engine.accept(kind, self.engine.create(order, now_ms), now_ms)

    def is_image(self, text: str) -> bool:
        """True if the text is an image in base64, or a URL if this server accepts URLs."""
        if text.startswith(("http://", "https://")):
            return self.profile.shape in ("tru", "go")
        try:
            data = base64.b64decode(text.partition(";base64,")[2] or text, validate=True)
        except (binascii.Error, ValueError):
            return False
        return data.startswith((b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF"))


def banned(prompt: str, word: str) -> Answer:
    """The answer to a prompt with a banned word."""
    return Answer(
        code=24,
        description="May contain sensitive words",
        properties={"promptEn": prompt, "bannedWord": word},
    )
