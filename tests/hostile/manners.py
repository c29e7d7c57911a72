"""How an upstream misbehaves, as data: each field is one manner, the defaults are honest, and all can be combined."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tests.hostile.spelling import Labels, Spelling, Wrapping

Failing = Literal["", "404", "405", "500", "silence"]
"""A question that is not answered as it should be, or not at all."""


@dataclass(frozen=True, kw_only=True)
class Manners:
    """The manners of one upstream."""

    # When things happen.
    holds: bool = False
    """A task that was accepted stays SUBMITTED until the test ends it, or lets it go on."""
    pauses: bool = False
    """Between a lie and the truth (`false_end`, `late`) it waits for `Hostile.go_on`; else it goes on at once."""
    is_silent: bool = False
    """No callback goes out by itself."""

    # Ends that contradict.
    false_end: Literal["", "FAILURE", "CANCEL"] = ""
    """Told first, by callback and by whatever is read; SUCCESS comes afterwards."""
    false_reason: str = "任务超时"
    fails_with: str = ""
    """Each task ends in FAILURE, with this reason."""

    # Content that comes late.
    late: frozenset[str] = frozenset()
    """What the first SUCCESS does not have yet: `buttons`, `imageUrl`, `finalPrompt`."""
    late_is_told: bool = True
    """Whether a second callback brings it; else only a read does."""

    # Two names for one task.
    relay: Literal["", "both", "front", "behind"] = ""
    """The answer to a submit has the relay's own id, callbacks have the id behind it; the word says which can be read."""
    finds_loosely: bool = False
    """An id is found in capitals or not, and in full-width digits, as databases compare text; the answer has the real one."""

    # When things are taken, and how many run.
    registers_after_s: float = 0
    """A submit is taken so much later than it came, on the upstream's clock, whether its sender still waits or not."""
    registers_late: frozenset[str] | None = None
    """The kinds of submit that this is true of (`imagine`, `action`, `modal` …); None is all."""
    loses_at_once: bool = False
    """An answer that is lost is lost when the request comes, as by a gateway in front, and not when the submit is taken."""
    works_s: float = 0
    """A task runs for so long, on the upstream's clock."""
    jobs: int | None = None
    """So many run at a time; the others wait, with code 22."""
    queue: int = 10
    """So many wait; one more is refused with 23, which deletes the window whose answer it was."""

    # What is shown, and what is echoed.
    state_on: frozenset[str] | None = None
    """The kinds of submit whose `state` is shown; None is all."""
    hook_on: frozenset[str] | None = None
    """The kinds of submit whose hook is shown in `properties.notifyHook`; None is all."""
    skew_s: float = 0
    """So far is its clock ahead of everybody's, in ids and in the times of tasks."""
    list_behind_s: float = 0
    """Tasks that were taken less than so long ago are not in the list yet."""
    list_says: Failing = ""
    fetch_says: Failing = ""
    batch_says: Failing = ""
    """What questions are answered with instead."""
    echoes_hook: bool = True
    """`properties.notifyHook` in callbacks and reads: whoever sees one payload has the hook."""
    state: Literal["echoed", "dropped", "replaced"] = "echoed"
    windows_say_prompt: bool = True
    """`properties.finalPrompt` in the answer 21; plusdoc and relays have none."""
    tells_parent: bool = False
    """`parentId` in each task that a press made. Plus has none."""
    batch_at_most: int | None = None
    """`list-by-condition` answers about so many tasks, the first of those that it was asked about."""
    batch_misses: bool = False
    """`list-by-condition` knows no task; a single fetch knows it."""
    list_newest: int | None = None
    list_oldest: int | None = None
    list_lags: int = 0
    """So many of the newest tasks are not in the list yet."""

    # How it is written.
    spelling: Spelling | None = None
    wrapping: Wrapping | None = None
    wraps_reads: bool = False
    """Whether `fetch` wraps as callbacks do."""
    labels: Labels | None = None
    encoding: Literal["", "gzip", "deflate", "deflate-raw"] = ""
    """Of callback bodies."""
    image_url: str = ""
    """The link of each picture, with `{job}` in it: `http://localhost:3000/mj/image/{job}`."""
