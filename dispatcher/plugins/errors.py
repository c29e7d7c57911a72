"""Exceptions that a receiver may raise, and errors in what a user wrote.

Retry           run this delivery again later
GiveUp          never run it again: it becomes a dead letter
Veto            do not send this submission (from a receiver of submission_leaving)
PluginError     a plugin cannot be loaded
RuleError       a rule cannot be used
"""

from __future__ import annotations

from dispatcher.plugins.submit_options import LONGEST_DELAY_S


class Retry(Exception):
    """Run the receiver again; after `after_s` seconds, up to 30 days, or with the usual backoff if None.

    Raises `ValueError` for another number.
    """

    def __init__(self, reason: str = "", *, after_s: float | None = None) -> None:
        if after_s is not None and not 0 <= after_s <= LONGEST_DELAY_S:
            raise ValueError(f"Retry(after_s={after_s}) is not between 0 seconds and 30 days")
        super().__init__(reason)
        self.after_s = after_s


class GiveUp(Exception):
    """The delivery becomes a dead letter at once: trying again would not help."""


class Veto(Exception):
    """The submission is not sent, now or later, and costs nothing. The reason is kept with it, and `hookchain explain` shows it."""


class PluginError(Exception):
    """Plugins cannot be loaded; each of the `problems` names the plugin, where it is, the cause, and what to write."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class RuleError(Exception):
    """A rule file has a mistake; the message names file, line, rule, key and the nearest valid name.

    `is_syntax`: an expression has a syntax error. `messages` has one for each mistake.
    """

    def __init__(self, *messages: str, is_syntax: bool = False) -> None:
        super().__init__("\n".join(messages))
        self.messages = messages
        self.is_syntax = is_syntax
