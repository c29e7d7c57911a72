"""Evaluates expressions in a confined process, so that none can block the loop that answers callbacks."""

from __future__ import annotations

import msgspec

from dispatcher.confined.frames import Refused
from dispatcher.confined.keeper import Confined, Overran
from dispatcher.plugins.errors import RuleError
from dispatcher.rules.language import Evaluated, Expression

MEMORY_BYTES = 128 * 1024 * 1024
PROCESSOR_S = 1.0
"""For one expression. Sorting the longest value takes 1% of this."""
WITHIN_S = 60.0
"""Wall-clock limit, long because the machine may be busy with other work."""

process = Confined(
    "dispatcher.rules.language",
    subject="the expression",
    memory_bytes=MEMORY_BYTES,
    processor_s=PROCESSOR_S,
    within_s=WITHIN_S,
)


async def evaluate_confined(expression: Expression) -> Evaluated:
    """Evaluate an expression.

    Raises `RuleError`, also if the evaluation needs too much time or memory; `Broken` if the process ended for another reason.
    """
    try:
        answer = await process.ask(msgspec.msgpack.encode(expression))
    except Overran as error:
        raise RuleError(f"{expression.source!r} cannot be evaluated: {error}") from error
    except Refused as error:
        raise RuleError(str(error)) from error
    return msgspec.msgpack.decode(answer, type=Evaluated)
