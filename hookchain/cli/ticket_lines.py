"""Tickets and clients as lines for people."""

from __future__ import annotations

from hookchain.cli.output import last_line
from hooks.api.answers import SubmissionDetail
from hooks.api.gateway_answers import Client, ClientHook, ClientKey, HookMessage, Ticket, TicketDetail, Window
from hooks.api.reports import BudgetUse

_HOOK_STATES = {"waiting": "pending", "told": "delivered", "dead": "failed"}


def ticket_row(ticket: Ticket) -> list[str]:
    """A ticket as a row of a list."""
    hook = (
        f"hook {_HOOK_STATES.get(ticket.hook.state, ticket.hook.state)}"
        if ticket.hook is not None
        else "no hook"
    )
    return [
        ticket.id,
        ticket.client,
        f"{ticket.kind} at {ticket.upstream}",
        f"{ticket.state} {ticket.status} {ticket.progress} %",
        hook,
        ticket.created_at,
        ticket.fail_reason or ticket.prompt,
    ]


def story_lines(ticket: TicketDetail) -> list[str]:
    """All that was done for a ticket, oldest first."""
    known = (
        f"task {ticket.task_id} at {ticket.upstream}"
        if ticket.task_id
        else f"no task yet, at {ticket.upstream}"
    )
    lines = [
        f"ticket {ticket.id} of {ticket.client}: {ticket.kind}, {ticket.state}, {ticket.status} {ticket.progress} %, {known}"
    ]
    if ticket.prompt:
        lines.append(f"  prompt: {ticket.prompt}")
    lines.append(f"  ordered at {ticket.created_at}; {_answered(ticket)}")
    lines.append(f"  {_account(ticket)}")
    if ticket.window is not None:
        lines.append(f"  {_window(ticket.window)}")
    if ticket.joined and ticket.submissions:
        lines.append(
            f"  {ticket.submissions[0].asked_by} had requested it before: it is paid for once, and this ticket shows the same task"
        )
    if ticket.shared_with:
        lines.append(f"  {ticket.shared_with} other tickets show the same submission")
    for submission in ticket.submissions:
        lines += _submission(submission)
    if ticket.hook is not None:
        lines.append(f"  hook at {ticket.hook.host}: {_hook_state(ticket.hook.state)}")
    lines += [f"    {_message(message)}" for message in ticket.messages if _is_worth_showing(message)]
    if ticket.ended_at is not None:
        why = f": {ticket.fail_reason}" if ticket.fail_reason else ""
        lines.append(f"  it ended at {ticket.ended_at} as {ticket.status}{why}")
    return lines


def _answered(ticket: Ticket) -> str:
    return (
        f"the client got its answer at {ticket.answered_at}"
        if ticket.answered_at
        else "the client has not got its answer"
    )


def _account(ticket: TicketDetail) -> str:
    first = ticket.submissions[0].upstream if ticket.submissions else ticket.upstream
    if ticket.parent_id:
        return f"account {first}, because it has task {ticket.parent_id}"
    return f"account {first}" + (f": {ticket.chosen}" if ticket.chosen else "")


def _window(window: Window) -> str:
    opened = f"{window.opened_by} opened a window at {window.opened_at}"
    if window.answered_by is None:
        return f"{opened}, which nobody has answered"
    text = ", with the text that it showed" if window.answered_by == "hookchain" else ""
    return f"{opened}; {window.answered_by} answered it{text}" + (
        f" at {window.answered_at}" if window.answered_at else ""
    )


def _submission(submission: SubmissionDetail) -> list[str]:
    made = f" → {', '.join(submission.task_ids)}" if submission.task_ids else ""
    state = "moved to another account" if submission.outcome == "moved" else submission.state
    reason = f" ({submission.reason})" if submission.reason else ""
    lines = [
        f"  {submission.kind} at {submission.upstream}, requested by {submission.asked_by}: {state}{made}{reason}"
    ]
    for one in submission.tries:
        status = f", HTTP {one.http_status}" if one.http_status is not None else ""
        why = f": {one.reason}" if one.reason else ""
        lines.append(f"    try {one.number} at {one.started_at}: {one.outcome}{status}{why}")
    return lines


def _hook_state(state: str) -> str:
    return {
        "waiting": "messages are still to be sent",
        "told": "the end was delivered",
        "dead": "messages could not be delivered",
    }.get(state, state)


def _is_worth_showing(message: HookMessage) -> bool:
    """False for a message that was dropped, because a newer one said more."""
    return bool(message.told) or message.state != "done"


def _message(message: HookMessage) -> str:
    if message.told:
        return f"{message.updated_at}  sent {', '.join(message.told)}"
    state = {"dead": "failed for good", "waiting": f"next try at {message.run_at}"}.get(
        message.state, message.state
    )
    error = f": {last_line(message.error)}" if message.error else ""
    letter = f"; `hookchain dead retry {message.dead_letter}` sends it again" if message.dead_letter else ""
    return f"{message.updated_at}  {message.signal}: {state} after {message.attempts} tries{error}{letter}"


def client_row(client: Client) -> list[str]:
    """A client as a row of a list."""
    dead = sum(hook.dead for hook in client.hooks)
    return [
        client.name,
        f"{client.tickets_today} today",
        f"{client.open} open",
        f"{client.windows} windows",
        "; ".join(map(_budget, client.budgets)) or "no daily limit",
        f"last order {client.last_order_at or 'never'}",
        f"{dead} dead letters" if dead else "all hooks accept messages",
    ]


def client_lines(client: Client) -> list[str]:
    """All about a client."""
    pool = client.pool
    named = f"pool {pool.name}: " if pool.name else ""
    return [
        f"client {client.name}"
        + ("" if client.configured else ", not in the settings, so the defaults apply"),
        f"  tickets: {client.tickets_today} today, {client.open} open, {client.windows} open windows",
        f"  last order {client.last_order_at or 'never'}, last seen {client.last_seen_at or 'never'}",
        *(f"  {_budget(budget)}" for budget in client.budgets),
        f"  at most {client.queue_max} tickets waiting for an upstream"
        + (f", {client.at_once} at once" if client.at_once else "")
        + (f", {client.rate:g} submits a second" if client.rate else ""),
        *(f"  key {_key(key)}" for key in client.keys),
        f"  accounts: {named}{', '.join(pool.upstreams)}, by {pool.order}",
        f"  rules: {_rules(client.rules)}; tasks they add: {client.children}",
        *([f"  hooks may also be at {', '.join(client.hook_hosts)}"] if client.hook_hosts else []),
        *(f"  {_hook(hook)}" for hook in client.hooks),
    ]


def _budget(budget: BudgetUse) -> str:
    return f"{budget.used:g} of {budget.limit:g} {budget.measure} per {budget.per}"


def _key(key: ClientKey) -> str:
    if key.kept == "file":
        return "in the settings"
    ends = f", ends {key.ends_at}" if key.ends_at else ""
    return f"{key.hint}…, stored {key.created_at}, last used {key.last_used_at or 'never'}{ends}"


def _rules(rules: bool | list[str]) -> str:
    if isinstance(rules, bool):
        return "all" if rules else "none"
    return ", ".join(rules) or "none"


def _hook(hook: ClientHook) -> str:
    return f"hook at {hook.host}: {hook.waiting} messages waiting, {hook.failing} of them being retried; {hook.dead} dead letters"
