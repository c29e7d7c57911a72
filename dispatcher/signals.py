"""Every signal: when it is sent, its sender, its arguments.

The sender is the task's action, such as "IMAGINE". All arguments come by keyword, and a receiver ends its list with
`**_`, since more may come: `task`, `event`, `chain`, and `submission` (None for a task of somebody else's) and
`modal` (only with submission_needs_modal).

blinker is how receivers are connected, not how they are run: its `send` stops at the first exception and remembers
nothing. A signal is asked for its receivers, and each of them gets a durable delivery of its own.
"""

from __future__ import annotations

import blinker

_WHEN = {
    "task.submitted": "The upstream took the task up (status SUBMITTED).",
    "task.started": "The task runs (the first IN_PROGRESS).",
    "task.progressed": "The task got further: a higher percentage than ever before.",
    "task.succeeded": "The task ended well; its buttons are there. Once a task.",
    "task.failed": "The task ended in FAILURE; `task.fail_reason` says why. Once a task.",
    "task.cancelled": "The task was cancelled. Once a task.",
    "task.lost": "The upstream no longer knows the task.",
    "submission.accepted": "A submission made a task (code 1), or proof of it was found later.",
    "submission.queued": "A submission made a task that waits behind others (code 22).",
    "submission.needs_modal": "A window waits for an answer (21 on an action, or status MODAL); `modal` describes it.",
    "submission.existed": "What was submitted existed already (21 on a change); the child was adopted for nothing.",
    "submission.rejected": "The upstream refused the submission for good (banned prompt, bad parameter, no button).",
    "submission.uncertain": "Nobody knows whether the upstream took the submission; it is not sent again in the dark.",
    "submission.dead": "A submission ran out of attempts, or a person must act; it is among the dead letters.",
    "budget.exceeded": "A chain asked for more than its budget allows; the submission was not made.",
}

SIGNALS: dict[str, blinker.Signal] = {name: blinker.Signal(doc=when) for name, when in _WHEN.items()}
"""Every signal by the name that rules use ("task.succeeded")."""

task_submitted = SIGNALS["task.submitted"]
task_started = SIGNALS["task.started"]
task_progressed = SIGNALS["task.progressed"]
task_succeeded = SIGNALS["task.succeeded"]
task_failed = SIGNALS["task.failed"]
task_cancelled = SIGNALS["task.cancelled"]
task_lost = SIGNALS["task.lost"]
submission_accepted = SIGNALS["submission.accepted"]
submission_queued = SIGNALS["submission.queued"]
submission_needs_modal = SIGNALS["submission.needs_modal"]
submission_existed = SIGNALS["submission.existed"]
submission_rejected = SIGNALS["submission.rejected"]
submission_uncertain = SIGNALS["submission.uncertain"]
submission_dead = SIGNALS["submission.dead"]
budget_exceeded = SIGNALS["budget.exceeded"]
