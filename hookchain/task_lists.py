"""A one-line summary of what hookchain has learned about an upstream's list of tasks."""

from __future__ import annotations

from hooks.api.reports import TaskList


def task_list_text(task_list: TaskList) -> str:
    """What is known about a list of tasks, in one line."""
    if task_list.missing:
        return (
            "none: callbacks and single reads can prove an uncertain submission, but nothing can disprove it"
        )
    if not task_list.most_entries:
        return "not read yet"
    kinds = sorted(task_list.marks.items())
    shown = [kind for kind, is_shown in kinds if is_shown]
    hidden = [kind for kind, is_shown in kinds if not is_shown]
    parts = [
        task_list.order,
        f"{task_list.most_entries} entries" + (", older ones are cut off" if task_list.cut else ""),
        "lag unknown" if task_list.lag_s is None else f"at most {task_list.lag_s:g} s behind",
        f"marks on {', '.join(shown)}" if shown else "",
        f"no marks on {', '.join(hidden)}" if hidden else "",
        f"slowest answer {task_list.slowest_s:g} s" if task_list.slowest_s else "",
    ]
    return "; ".join(part for part in parts if part)
