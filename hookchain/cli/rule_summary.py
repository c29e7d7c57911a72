"""Says in plain words what the rules of a file may do, without running or compiling them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from dispatcher.rules.model import PRESSES
from hookchain.cli.rule_copy import variables_in

Table = Mapping[str, object]

_PAID = {
    "imagine": "submits the prompt {}",
    "blend": "blends {}",
    "describe": "has {} described",
    "shorten": "has {} shortened",
    "modal": "answers windows with {}",
}
_FREE = {"archive": "keeps pictures in {}", "split_grid": "cuts grids, and keeps the parts in {}"}
LONGEST = 300


def summary(tables: Table, *, is_foreign: bool) -> list[str]:
    """The lines. `tables` are those with the values of inputs filled in."""
    rules = tables.get("rules")
    lines: list[str] = []
    for rule in rules if isinstance(rules, list) else ():
        hears = (
            f"runs every {_short(rule['every'])}" if rule.get("every") else f"hears {_joined(rule.get('on'))}"
        )
        lines.append(f"{rule.get('name')}: {hears}{_when(rule)}")
        lines += [f"  {line}" for line in _does(rule)]
        if rule.get("enabled") is False:
            lines.append("  is switched off")
    if names := variables_in(tables):
        shown = ", ".join(f"${{{name}}}" for name in names)
        lines.append(f"! reads variables of your environment: {shown}")
        if is_foreign:
            lines.append("! Their values may be secrets, and go wherever the rules above send something.")
    return lines


def _when(rule: Table) -> str:
    condition = f", if {_short(rule['if'])}" if rule.get("if") else ""
    per = f" per {rule['once_per']}" if rule.get("once_per") else " per chain"
    most = rule.get("limit") or (1 if rule.get("once_per") else 0)
    limit = f", at most {'once' if most == 1 else f'{most} times'}{per}" if most else ""
    return condition + limit


def _does(rule: Table) -> Iterator[str]:
    pressed = [
        f"{key} {_joined(rule[key])}" if key != "press" else _joined(rule[key])
        for key in PRESSES
        if rule.get(key)
    ]
    paid = [f"presses {', '.join(pressed)}"] if pressed else []
    paid += [words.format(_short(_what(rule[key]))) for key, words in _PAID.items() if rule.get(key)]
    paid += ["submits the same request again"] if rule.get("repeat") else []
    upstream = f" at {_short(rule['upstream'])}" if rule.get("upstream") else ""
    yield from (f"spends: {one}{upstream}" for one in paid)
    if rule.get("cancel"):
        yield "cancels tasks"
    for key, words in _FREE.items():
        if rule.get(key):
            yield words.format(_short(_what(rule[key], "to")))
    if rule.get("forward"):
        yield f"sends: the task, with its prompt, to {_short(_what(rule['forward'], 'url'))}"
    if rule.get("notify"):
        told = rule["notify"]
        text = told.get("text", "its prompt") if isinstance(told, dict) else "its prompt"
        yield f"sends: {_short(text)} to {_short(_joined(_what(told, 'to')))}"
    yield from _asks(rule.get("approve"))
    if files := list(_files(rule)):
        yield f"reads the files {', '.join(map(_short, files))}"


def _asks(approve: object) -> Iterator[str]:
    """What the key `approve` does."""
    if not approve:
        return
    yield "holds what it submits until somebody approves it"
    for key in ("notify", "forward"):
        if isinstance(approve, dict) and approve.get(key):
            yield f"sends: its question for approval to {_short(_joined(_what(approve[key], 'url')))}"


def _files(rule: Table) -> Iterator[str]:
    """The pictures and masks that are files."""
    images: list[object] = [rule.get("describe", "")]
    for key in ("imagine", "blend"):
        value = rule.get(key)
        listed = value.get("images", []) if isinstance(value, dict) else value if key == "blend" else []
        images += listed if isinstance(listed, list) else []
    modal = rule.get("modal")
    mask = str(modal.get("mask", "")) if isinstance(modal, dict) else ""
    for source in [*images, *([mask] if "." in mask else [])]:
        text = str(source).strip()
        if (
            text
            and "{{" not in text
            and "{%" not in text
            and "://" not in text
            and not text.startswith("data:")
        ):
            yield text


def _what(value: object, key: str = "prompt") -> object:
    """The part of a value that says what is submitted, or where something goes."""
    if not isinstance(value, dict):
        return value
    return value.get(key) or value.get("images") or value.get("mask") or "the same text"


def _joined(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _short(value: object) -> str:
    text = _joined(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
