"""Asks the receivers of `submission_leaving` whether a submission may leave.

A receiver that fails, or takes too long, has not agreed: the submission stays here, and they are asked again later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Literal

import msgspec
import structlog

from dispatcher.plugins.errors import Veto
from dispatcher.plugins.receivers import Receiver, name_of, options_of
from dispatcher.plugins.running import Runner
from dispatcher.plugins.signals import submission_leaving
from storage.records import Submission

log = structlog.get_logger("hookchain")

WITHIN_S = 5.0
"""The most seconds that a receiver may take, whatever its `timeout_s`: its submission holds one of the upstream's places meanwhile."""


class Leaving(msgspec.Struct, frozen=True, kw_only=True):
    """The arguments of `submission_leaving`. `action` is the task's, "" if it is not known yet. `prompt` may be ""."""

    action: str
    submission: Submission
    prompt: str

    def arguments(self) -> dict[str, object]:
        """The keyword arguments a receiver gets."""
        return {"submission": self.submission, "prompt": self.prompt}


class Objection(msgspec.Struct, frozen=True, kw_only=True):
    """Why a submission does not leave: "veto" for ever, "failed" for now."""

    kind: Literal["veto", "failed"]
    reason: str


class Vetoes:
    """Asks before each submission. The runner is that of all receivers, so that those of one plugin share its loop."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def are_wanted(self) -> bool:
        """True if any receiver wants to be asked."""
        return bool(submission_leaving.receivers)

    async def objection(self, leaving: Leaving) -> Objection | None:
        """The first veto, or else the first failure; None if all receivers agree."""
        functions = sorted(submission_leaving.receivers_for(leaving.action), key=name_of)
        answers = await asyncio.gather(*(self._ask(function, leaving) for function in functions))
        objections = [answer for answer in answers if answer is not None]
        return min(objections, key=lambda one: one.kind != "veto", default=None)

    async def _ask(self, function: Callable[..., Any], leaving: Leaving) -> Objection | None:
        name, options = name_of(function), options_of(function)
        if self._runner.abandoned(name) >= options.concurrency:
            return Objection(
                kind="failed", reason=f"{name} hangs, so that it cannot be asked whether this may leave"
            )
        within = msgspec.structs.replace(options, timeout_s=min(options.timeout_s, WITHIN_S))
        try:
            await self._runner.run(Receiver(name=name, function=function, options=within), leaving)
        except Veto as veto:
            return Objection(kind="veto", reason=f"{name} vetoed it: {veto}")
        except Exception as error:  # whatever it is, the receiver has not agreed
            log.error("a submission waits: its veto receiver failed", receiver=name, exc_info=error)
            return Objection(
                kind="failed", reason=f"{name} failed before it agreed: {type(error).__name__}: {error}"[:500]
            )
        return None
