"""What an upstream may answer to a request of a rule, played to a test kit."""

from __future__ import annotations

from hookchain.testing import Ask, Asked, Hookchain, grid, upscale


def answer(kit: Hookchain, ask: Ask, what: str, name: str) -> Asked:
    """Let a request come to its end: "picture", "variation", "fail", "window", or a rejection. `name` is the id of the task that it makes."""
    if what == "picture":
        return kit.succeed(upscale(name), of=ask)
    if what == "variation":
        return kit.succeed(grid(name, action="VARIATION"), of=ask)
    if what == "fail":
        return kit.fail(grid(name), "timeout", of=ask)
    if what == "window":
        return kit.window(ask, id=name)
    return kit.answer(ask, {"code": 24, "description": "banned prompt: x"})
