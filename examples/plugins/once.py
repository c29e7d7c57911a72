"""Pay for a prompt once, whoever submits it and however: a rule, a page, the API, the command line or a client of the gateway.

Prompts are equal if they differ only in spaces and capitals. The first submission of a prompt counts for ever, even if it failed. In hookchain.toml:

    [plugins.once]
    file = "once.db"

Try it: hookchain imagine "a cat", twice. The second one is refused, and costs nothing; `hookchain explain` says why.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing

import msgspec

from hookchain import Submission, Veto, plugin_settings, submission_leaving


class Settings(msgspec.Struct, frozen=True):
    """The table [plugins.once]."""

    file: str = "once.db"


settings = plugin_settings(Settings)


@submission_leaving.connect_via("IMAGINE")
def once(action: str, *, submission: Submission, prompt: str, **_: object) -> None:
    """hookchain asks again before each attempt at a submission, so a submission must not be stopped by its own prompt."""
    key = " ".join(prompt.lower().split())
    with closing(sqlite3.connect(settings.file, timeout=4)) as prompts, prompts:
        prompts.execute("CREATE TABLE IF NOT EXISTS once (prompt TEXT PRIMARY KEY, submission TEXT)")
        prompts.execute("INSERT OR IGNORE INTO once VALUES (?, ?)", (key, submission.id))
        ((first,),) = prompts.execute("SELECT submission FROM once WHERE prompt = ?", (key,))
    if first != submission.id:
        raise Veto(f"this prompt was already submitted, as {first}")
