"""A rule as written → a rule that is ready to run, or the mistake in it: which key, what is wrong, what to write."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path

import msgspec

from dispatcher.errors import GiveUp, RuleError
from dispatcher.how import HIGHEST_PRIORITY, LONGEST_DELAY_S
from dispatcher.rules import actions
from dispatcher.rules.actions import Step
from dispatcher.rules.effects import BUILD, Effect
from dispatcher.rules.expressions import Condition, Template, compile_template
from dispatcher.rules.masks import load_mask
from dispatcher.rules.model import EFFECTS, PRESSES, STAGED, BlendWith, ImagineWith, ModalAnswer, Rule
from dispatcher.signals import SIGNALS
from dispatcher.spelling import nearest
from midjourney.buttons import KINDS as BUTTON_KINDS
from storage.firings import HIGHEST_LIMIT, Limit

NEEDS_MODAL = "submission.needs_modal"

_KIND_LIKE = re.compile(r"[a-z][a-z0-9_.]+")
_NAME = re.compile(r"[\w][\w .:+-]*")
_TIME = re.compile(r"(\d+(?:\.\d+)?)\s*(s|sec|min|m|h|hours?)?")
_EXAMPLE = ' Write something like "task.is_grid and chain.depth == 0".'
_SECONDS = {"": 1, "s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "hour": 3600, "hours": 3600}
_TO_OTHERS = frozenset({"imagine", "blend", "describe", "shorten"})
_BEFORE_THE_END = frozenset(
    {
        "task.submitted",
        "task.started",
        "task.progressed",
        "submission.accepted",
        "submission.queued",
        NEEDS_MODAL,
    }
)


class Mistake(Exception):
    """A rule cannot be used: the key, what is wrong, and what to do."""

    def __init__(self, key: str, problem: str, remedy: str = "") -> None:
        super().__init__(f"{problem}.{remedy}")
        self.key = key
        self.problem = problem
        self.remedy = remedy


class CompiledRule(msgspec.Struct, frozen=True, kw_only=True):
    """A rule that is ready to run.

    `steps` submit, on the rule's signal; `answer` is for the windows that they open; `delay_s` and `state` say how.
    `effects` reach out of here, each by its key.
    `where` is the file and line it stands in.
    """

    rule: Rule
    condition: Condition | None
    steps: tuple[Step, ...]
    effects: Mapping[str, Effect]
    answer: Step | None
    delay_s: float
    state: Template | None
    limit: Limit | None
    where: str = ""


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """What a rule may refer to: files beside it (None: no files at all), and upstreams by name (None: not known here)."""

    directory: Path | None
    upstreams: Collection[str] | None = None


def compile_rule(rule: Rule, around: Surroundings) -> CompiledRule:
    """Check a rule and make it ready. Raises `Mistake` at the first thing that cannot be right."""
    _check_signal(rule)
    _check_what(rule)
    _check_how(rule, around)
    answer = _answer(rule, around)
    own = rule.on == NEEDS_MODAL
    return CompiledRule(
        rule=rule,
        condition=_condition(rule),
        steps=(*_steps(rule), *([answer] if answer is not None and own else [])),
        effects=_effects(rule, around),
        answer=None if own else answer,
        delay_s=_delay(rule),
        state=_template("state", rule.state) if rule.state else None,
        limit=Limit(most=rule.limit or 1, per=rule.once_per or "chain")
        if rule.limit or rule.once_per
        else None,
    )


def _check_signal(rule: Rule) -> None:
    if not _NAME.fullmatch(rule.name):
        raise Mistake("name", f"{rule.name!r} is no name", " Use letters, digits, spaces, and - _ . : +")
    if rule.on not in SIGNALS:
        raise Mistake("on", f"unknown signal {rule.on!r}", nearest(rule.on, SIGNALS))


def _check_what(rule: Rule) -> None:
    asked = asked_keys(rule)
    if not asked:
        raise Mistake("", "it does nothing", f" Give it one of {', '.join((*STAGED, *EFFECTS))}.")
    presses = [key for key in asked if key in PRESSES]
    if presses and rule.on == NEEDS_MODAL:
        raise Mistake(presses[0], "a window has no buttons", ' Answer it with modal = "…".')
    if rule.modal is not None and rule.on != NEEDS_MODAL and not presses:
        raise Mistake(
            "modal",
            "there is no window to answer",
            f' Write on = "{NEEDS_MODAL}", or put it beside the press that opens the window.',
        )
    if rule.repeat and not rule.on.startswith("submission."):
        raise Mistake("repeat", f"{rule.on} is about no submission", ' Write on = "submission.dead".')
    if rule.cancel and rule.on not in _BEFORE_THE_END:
        raise Mistake(
            "cancel",
            "an ended task cannot be cancelled",
            ' Write on = "task.submitted" or "task.progressed".',
        )


def _check_how(rule: Rule, around: Surroundings) -> None:
    if rule.limit < 0:
        raise Mistake("limit", f"{rule.limit} is less than 0", " Leave it out for no limit.")
    if rule.limit > HIGHEST_LIMIT:
        raise Mistake("limit", f"{rule.limit} is more than {HIGHEST_LIMIT}", " Leave it out for no limit.")
    if abs(rule.priority) > HIGHEST_PRIORITY:
        raise Mistake(
            "priority", f"{rule.priority} is not between -100 and 100", " What is higher goes first."
        )
    if not rule.upstream:
        return
    if not set(asked_keys(rule)) & _TO_OTHERS:
        raise Mistake(
            "upstream",
            "what is about a task goes to the task's own upstream",
            f" It counts for {', '.join(sorted(_TO_OTHERS))}.",
        )
    if around.upstreams is not None and rule.upstream not in around.upstreams:
        raise Mistake(
            "upstream", f"no upstream is named {rule.upstream!r}", nearest(rule.upstream, around.upstreams)
        )


def asked_keys(rule: Rule) -> list[str]:
    """The keys by which a rule does something."""
    return [key for key in (*STAGED, *EFFECTS) if getattr(rule, key) not in ("", [], None, False)]


def _condition(rule: Rule) -> Condition | None:
    if not rule.when:
        return None
    try:
        condition = Condition(rule.when)
    except RuleError as error:
        raise Mistake("if", str(error), _EXAMPLE if error.is_syntax else "") from error
    if "modal" in condition.names and rule.on != NEEDS_MODAL:
        raise Mistake("if", f"{rule.when!r}: {rule.on} has no modal", f' Write on = "{NEEDS_MODAL}".')
    return condition


def _steps(rule: Rule) -> list[Step]:
    steps: list[Step] = []
    if wanted := _wanted(rule):
        steps.append(actions.pressing(wanted))
    if rule.imagine:
        asked = ImagineWith(prompt=rule.imagine) if isinstance(rule.imagine, str) else rule.imagine
        images = [_template("imagine", one) for one in asked.images]
        steps.append(actions.imagining(asked, _template("imagine", asked.prompt), images))
    if rule.blend:
        mixed = BlendWith(images=rule.blend) if isinstance(rule.blend, list) else rule.blend
        if not 2 <= len(mixed.images) <= 5:
            raise Mistake("blend", f"a blend takes 2 to 5 images, not {len(mixed.images)}")
        steps.append(actions.blending(mixed, [_template("blend", one) for one in mixed.images]))
    if rule.describe:
        steps.append(actions.describing(_template("describe", rule.describe)))
    if rule.shorten:
        steps.append(actions.shortening(_template("shorten", rule.shorten)))
    if rule.repeat:
        steps.append(actions.repeat)
    if rule.cancel:
        steps.append(actions.cancel)
    return steps


def _effects(rule: Rule, around: Surroundings) -> dict[str, Effect]:
    found: dict[str, Effect] = {}
    for key in asked_keys(rule):
        if key in BUILD:
            try:
                found[key] = BUILD[key](rule, around.directory)
            except (GiveUp, RuleError) as error:
                raise Mistake(key, str(error)) from error
    return found


def _wanted(rule: Rule) -> list[str]:
    """What to press, in the words that `chain.press` takes."""
    wanted = [rule.press] if isinstance(rule.press, str) else list(rule.press)
    for one in wanted:
        if not one.strip():
            raise Mistake("press", "names an empty button", ' Write "U1", "U*", or a kind such as "upscale".')
        if _KIND_LIKE.fullmatch(one) and one not in BUTTON_KINDS:
            raise Mistake("press", f"no kind of button is called {one!r}", nearest(one, BUTTON_KINDS))
    wanted += [f"vary_{rule.vary}"] if rule.vary else []
    wanted += [_zoom(rule)[0]] if rule.zoom else []
    wanted += [f"pan_{rule.pan}"] if rule.pan else []
    wanted += [f"animate_{rule.animate}"] if rule.animate else []
    return wanted


def _zoom(rule: Rule) -> tuple[str, float]:
    """The kind of button for a zoom, and the factor that its window is to be answered with; 0 for no window."""
    written = str(rule.zoom).strip().lower().removesuffix("x")
    if written == "custom":
        return "custom_zoom", 0
    try:
        factor = float(written)
    except ValueError:
        raise Mistake(
            "zoom", f"{rule.zoom!r} is no zoom", ' Write 1.5, 2, another number from 1 to 2, or "custom".'
        ) from None
    if not 1 < factor <= 2:
        raise Mistake(
            "zoom", f"{factor:g} is out of range", " Midjourney zooms out by more than 1 and at most 2."
        )
    return ({2.0: "zoom_out_2x", 1.5: "zoom_out_1.5x"}.get(factor, "custom_zoom"), factor)


def _answer(rule: Rule, around: Surroundings) -> Step | None:
    written = rule.modal
    if written is None and rule.zoom and (zoom := _zoom(rule))[0] == "custom_zoom" and zoom[1]:
        written = f"{{{{ modal.prompt }}}} --zoom {zoom[1]:g}"
    if written is None:
        return None
    answer = ModalAnswer(prompt=written) if isinstance(written, str) else written
    if not answer.mask and "vary_region" in _wanted(rule):
        raise Mistake(
            "modal", "Vary (Region) needs a mask", ' Write modal = { mask = "center" }, or a PNG file.'
        )
    try:
        mask = load_mask(answer.mask, around.directory) if answer.mask else ""
    except RuleError as error:
        raise Mistake("modal", str(error)) from error
    return actions.answering(_template("modal", answer.prompt), mask)


def _delay(rule: Rule) -> float:
    if isinstance(rule.after, str):
        found = _TIME.fullmatch(rule.after.strip())
        if not found:
            raise Mistake("after", f"{rule.after!r} is no time", ' Write seconds, or "10 min", "2 h".')
        seconds = float(found[1]) * _SECONDS[found[2] or ""]
    else:
        seconds = float(rule.after)
    if not 0 <= seconds <= LONGEST_DELAY_S:
        raise Mistake(
            "after", f"{rule.after!r} is not between 0 and 30 days", ' Write seconds, or "10 min", "2 h".'
        )
    return seconds


def _template(key: str, source: str) -> Template:
    if not source.strip():
        raise Mistake(key, "is empty", " Write a text, or leave the key out.")
    try:
        return compile_template(source)
    except RuleError as error:
        raise Mistake(key, str(error)) from error
