"""How often rules fired: each by itself, and by its effects, which are receivers of their own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from hooks.api.reports import Receiver, Rules


def parts_of(name: str, receivers: Mapping[str, Receiver]) -> dict[str, Receiver]:
    """The receivers of a rule: "" for what it submits, then "archive", "notify" … and "modal"."""
    prefix = f"rule:{name}"
    return {
        receiver.removeprefix(prefix).removeprefix("/"): counts
        for receiver, counts in receivers.items()
        if receiver == prefix or receiver.startswith(f"{prefix}/")
    }


def counts_text(parts: Mapping[str, Receiver]) -> str:
    """How often each part fired, in one line."""
    texts = []
    for part, counts in sorted(parts.items()):
        text = f"fired {counts.fired} of {counts.done} times, {counts.dead} dead"
        texts.append(f"{part} {text}" if part else text)
    return "; ".join(texts) or "fired 0 of 0 times, 0 dead"


def never_fired(report: Rules) -> list[str]:
    """The rules of which no part has fired."""
    receivers = {receiver.name: receiver for receiver in report.receivers}
    return [
        rule.name
        for rule in report.rules
        if not any(counts.fired for counts in parts_of(rule.name, receivers).values())
    ]


def never_fired_in(names: Iterable[str], fired: Mapping[str, int]) -> list[str]:
    """The rules of which no part has fired, by counts of their receivers."""
    active = {receiver.partition("/")[0] for receiver, times in fired.items() if times}
    return [name for name in names if f"rule:{name}" not in active]
