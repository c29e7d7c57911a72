"""Every signal: when it is sent, its sender, its arguments.

The sender is the task's action, such as "IMAGINE"; of clock_struck it is the rule's name. All arguments are keyword arguments: `task`, `event`, `chain`, `submission`
(None for a task that hookchain did not submit) and `modal` (only with submission_needs_modal). A receiver ends its parameter
list with `**_`, since more may be added.

blinker only connects receivers, it does not run them: its `send` stops at the first exception and stores nothing. hookchain
looks up the receivers of a signal, and each gets a durable delivery of its own.
"""

from __future__ import annotations

from dispatcher.plugins.plugin_signal import PluginSignal

ARGUMENTS = ("task", "event", "chain", "submission", "modal")
"""The keyword arguments of every signal about an event. The sender comes before them."""

_WHEN = {
    "task.submitted": "The upstream accepted the task (status SUBMITTED).",
    "task.started": "The task started to run (the first IN_PROGRESS).",
    "task.progressed": "The task progressed: a higher percentage than ever before.",
    "task.succeeded": "The task succeeded; its buttons are available. Once per task.",
    "task.failed": "The task ended in FAILURE; `task.fail_reason` says why. Once per task.",
    "task.cancelled": "The task was cancelled. Once per task.",
    "task.lost": "The upstream no longer knows the task.",
    "task.overdue": "The task hangs: no end, and nothing new for `overdue_after_s` of its upstream. Once per task.",
    "submission.accepted": "A submission made a task (code 1), or proof of it was found later.",
    "submission.queued": "A submission made a task that waits in the queue (code 22).",
    "submission.needs_modal": "A modal needs an answer (21 on an action, or status MODAL); `modal` describes it.",
    "submission.existed": "The submitted task existed already (21 on a change); hookchain adopted it, and nothing was paid.",
    "submission.rejected": "The upstream refused the submission for good (banned prompt, bad parameter, no button).",
    "submission.uncertain": "It is unknown whether the upstream accepted the submission; it is not sent again until that is known.",
    "submission.dead": "A submission ran out of attempts, or a person must act; it is a dead letter.",
    "budget.exceeded": "A budget does not allow a submission, which is stored as refused.",
    "chain.rested": "Nothing of the chain runs or waits any more; `chain.tasks` shows what became of it. Once per quiet period.",
    "children.done": "All that was pressed on the task has ended; `chain.children` shows it. Once per quiet period.",
    "clock.struck": "A rule with `every` is due. The sender is the rule's name, and `event.status` the time; there is no task.",
}

SIGNALS: dict[str, PluginSignal] = {name: PluginSignal(name, when, ARGUMENTS) for name, when in _WHEN.items()}
"""Every signal by the name that rules use ("task.succeeded")."""

task_submitted = SIGNALS["task.submitted"]
task_started = SIGNALS["task.started"]
task_progressed = SIGNALS["task.progressed"]
task_succeeded = SIGNALS["task.succeeded"]
task_failed = SIGNALS["task.failed"]
task_cancelled = SIGNALS["task.cancelled"]
task_lost = SIGNALS["task.lost"]
task_overdue = SIGNALS["task.overdue"]
submission_accepted = SIGNALS["submission.accepted"]
submission_queued = SIGNALS["submission.queued"]
submission_needs_modal = SIGNALS["submission.needs_modal"]
submission_existed = SIGNALS["submission.existed"]
submission_rejected = SIGNALS["submission.rejected"]
submission_uncertain = SIGNALS["submission.uncertain"]
submission_dead = SIGNALS["submission.dead"]
budget_exceeded = SIGNALS["budget.exceeded"]
chain_rested = SIGNALS["chain.rested"]
children_done = SIGNALS["children.done"]
clock_struck = SIGNALS["clock.struck"]

submission_leaving = PluginSignal(
    "submission.leaving",
    "A submission is about to be sent, and nothing is paid yet: a receiver may raise `Veto`. Not for rules, since it is not an event.",
    ("submission", "prompt"),
)

ALL_SIGNALS = (*SIGNALS.values(), submission_leaving)
"""Every signal that a plugin may connect to."""
