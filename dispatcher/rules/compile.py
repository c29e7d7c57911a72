"""Compiles rules: from their TOML form to one that is ready to run."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path

import msgspec

from dispatcher.plugins.errors import GiveUp, RuleError
from dispatcher.plugins.submit_options import InvalidDelay, delay_s
from dispatcher.plugins.zooms import InvalidZoom, zoom_of
from dispatcher.policy.times_of_day import InvalidTime, time_of_day
from dispatcher.rules import actions
from dispatcher.rules.actions import File, Picture, Step
from dispatcher.rules.approval import Approval, approval_of
from dispatcher.rules.checks import NEEDS_MODAL, InvalidRule, action_keys, check
from dispatcher.rules.clock import check_clock
from dispatcher.rules.effects import BUILD, Effect
from dispatcher.rules.expressions import (
    Condition,
    Evaluator,
    Names,
    Template,
    compile_template,
    evaluate_here,
)
from dispatcher.rules.joins import check_join
from dispatcher.rules.masks import load_mask
from dispatcher.rules.mistakes import Mistake
from dispatcher.rules.model import BlendWith, ImagineWith, ModalAnswer, Rule
from dispatcher.rules.offered import Dialects, check_offered
from dispatcher.rules.spelling import nearest
from dispatcher.rules.variables import Given, Variables, macros_of
from midjourney.addresses import is_link
from midjourney.buttons import KINDS as BUTTON_KINDS
from midjourney.files import inside
from midjourney.image_data import BadImage
from storage.deliveries.firings import Limit

_KIND_LIKE = re.compile(r"[a-z][a-z0-9_.]+")
_EXAMPLE = ' Write something like "task.is_grid and chain.depth == 0".'
_UNLESS = ' Write something like "chain.pressed_by_person".'


class CompiledRule(msgspec.Struct, frozen=True, kw_only=True):
    """A rule that is ready to run.

    `steps` stage submissions on the rule's signal, with `delay_s` and `state`; `answer` answers the modals that they open.
    `effects`, by their keys, reach other systems. `approval`: what it submits on its signal is held until it is approved. `where` is the
    file and line of the rule. `warnings` are about what can never happen, or happens again and again.
    """

    rule: Rule
    condition: Condition | None
    steps: tuple[Step, ...]
    effects: Mapping[str, Effect]
    answer: Step | None
    delay_s: float
    unless: Condition | None
    state: Template | None
    limit: Limit | None
    approval: Approval | None = None
    where: str = ""
    warnings: tuple[Mistake, ...] = ()


class RuleContext(msgspec.Struct, frozen=True, kw_only=True):
    """What a rule may refer to: files in its directory (None: no files), and upstreams by name (None: unknown here), with those
    of their `dialects` that are known. `variables`
    are those of all rules, with the macros; `evaluator` evaluates expressions."""

    directory: Path | None
    upstreams: Collection[str] | None = None
    dialects: Dialects = {}
    image_folders: tuple[Path, ...] = ()
    variables: Variables = {}
    evaluator: Evaluator = evaluate_here

    @property
    def folders(self) -> tuple[Path, ...]:
        """Where images may be. The first is the directory of the rules, to which paths are relative."""
        return () if self.directory is None else (self.directory, *self.image_folders)


def compile_rule(rule: Rule, context: RuleContext) -> CompiledRule:
    """Check and compile a rule. Raises `InvalidRule` for its first mistake."""
    given = Given({**context.variables, **rule.vars}, macros_of(context.variables))
    rule = msgspec.structs.replace(rule, vars=given)
    check_clock(rule, context.upstreams)
    check(rule, context.upstreams)
    check_join(rule)
    check_offered(rule, context.dialects)
    answer = _answer(rule, context)
    is_on_modal = NEEDS_MODAL in rule.signals  # then on nothing else: `check` sees to that
    return CompiledRule(
        rule=rule,
        condition=_condition(rule, context),
        steps=(*_steps(rule, context), *([answer] if answer is not None and is_on_modal else [])),
        effects=_effects(rule, context),
        answer=None if is_on_modal else answer,
        delay_s=_delay(rule),
        unless=_unless(rule, context),
        state=_template("state", rule.state, context, rule.vars) if rule.state else None,
        limit=Limit(most=rule.limit or 1, per=rule.once_per or "chain")
        if rule.limit or rule.once_per
        else None,
        approval=approval_of(rule, context.directory, context.evaluator),
    )


def _condition(rule: Rule, context: RuleContext) -> Condition | None:
    if not rule.when:
        return None
    try:
        condition = Condition(rule.when, context.evaluator, variables=rule.vars)
    except RuleError as error:
        raise InvalidRule("if", str(error), _EXAMPLE if error.is_syntax else "") from error
    without = [signal for signal in rule.signals if signal != NEEDS_MODAL]
    if "modal" in condition.names and without:
        raise InvalidRule("if", f"{rule.when!r}: {without[0]} has no modal", f' Write on = "{NEEDS_MODAL}".')
    return condition


def _unless(rule: Rule, context: RuleContext) -> Condition | None:
    """Check when the rule submits, and compile the condition that is asked then."""
    if rule.at:
        if rule.after:
            raise InvalidRule("at", "at and after both set the time", " Leave one of them out.")
        if rule.approve is not False:
            raise InvalidRule(
                "at",
                "with approve, submissions are sent when a person releases them, not at a time of day",
                " Write after, which counts from the release, or leave at out.",
            )
        try:
            time_of_day(rule.at)
        except InvalidTime as error:
            raise InvalidRule("at", error.problem, f" {error.remedy}") from error
    if not rule.unless:
        return None
    if not rule.at and not rule.after:
        raise InvalidRule(
            "unless",
            "it is checked when a delayed submission is due, and this rule has no delay",
            ' Add after = "10 min", or write the condition in `if`.',
        )
    try:
        return Condition(rule.unless, context.evaluator, when_due=True, variables=rule.vars)
    except RuleError as error:
        raise InvalidRule("unless", str(error), _UNLESS if error.is_syntax else "") from error


def _steps(rule: Rule, context: RuleContext) -> list[Step]:
    steps: list[Step] = []
    if buttons := _buttons(rule):
        steps.append(actions.pressing(buttons))
    if rule.imagine:
        table = ImagineWith(prompt=rule.imagine) if isinstance(rule.imagine, str) else rule.imagine
        images = [_picture("imagine", source, context, rule.vars) for source in table.images]
        steps.append(actions.imagining(table, _template("imagine", table.prompt, context, rule.vars), images))
    if rule.blend:
        blend = BlendWith(images=rule.blend) if isinstance(rule.blend, list) else rule.blend
        if not 2 <= len(blend.images) <= 5:
            raise InvalidRule("blend", f"a blend takes 2 to 5 images, not {len(blend.images)}")
        steps.append(
            actions.blending(
                blend, [_picture("blend", source, context, rule.vars) for source in blend.images]
            )
        )
    if rule.describe:
        steps.append(actions.describing(_picture("describe", rule.describe, context, rule.vars)))
    if rule.shorten:
        steps.append(actions.shortening(_template("shorten", rule.shorten, context, rule.vars)))
    if rule.repeat:
        steps.append(actions.repeat)
    if rule.cancel:
        steps.append(actions.cancel)
    return steps


def _effects(rule: Rule, context: RuleContext) -> dict[str, Effect]:
    effects: dict[str, Effect] = {}
    for key in action_keys(rule):
        if key in BUILD:
            try:
                effects[key] = BUILD[key](rule, context.directory, context.evaluator)
            except (GiveUp, RuleError) as error:
                raise InvalidRule(key, str(error)) from error
    return effects


def _buttons(rule: Rule) -> list[str]:
    """The buttons to press, as `chain.press` takes them."""
    buttons = [rule.press] if isinstance(rule.press, str) else list(rule.press)
    for button in buttons:
        if not button.strip():
            raise InvalidRule(
                "press", "an empty text names no button", ' Write "U1", "U*", or a kind such as "upscale".'
            )
        if _KIND_LIKE.fullmatch(button) and button not in BUTTON_KINDS:
            raise InvalidRule("press", f"unknown kind of button {button!r}", nearest(button, BUTTON_KINDS))
    buttons += [f"vary_{rule.vary}"] if rule.vary else []
    buttons += [_zoom(rule)[0]] if rule.zoom else []
    buttons += [f"pan_{rule.pan}"] if rule.pan else []
    buttons += [f"animate_{rule.animate}"] if rule.animate else []
    return buttons


def _zoom(rule: Rule) -> tuple[str, float]:
    try:
        return zoom_of(rule.zoom)
    except InvalidZoom as error:
        raise InvalidRule("zoom", error.problem, error.remedy) from error


def _answer(rule: Rule, context: RuleContext) -> Step | None:
    written = rule.modal
    if written is None and rule.zoom and (zoom := _zoom(rule))[0] == "custom_zoom" and zoom[1]:
        written = f"{{{{ modal.prompt | with_param('zoom', {zoom[1]:g}) }}}}"
    if written is None:
        return None
    answer = ModalAnswer(prompt=written) if isinstance(written, str) else written
    if not answer.mask and "vary_region" in _buttons(rule):
        raise InvalidRule(
            "modal", "Vary (Region) needs a mask", ' Write modal = { mask = "center" }, or a PNG file.'
        )
    try:
        mask = load_mask(answer.mask, context.folders) if answer.mask else ""
    except RuleError as error:
        raise InvalidRule("modal", str(error)) from error
    return actions.answering(_template("modal", answer.prompt, context, rule.vars), mask)


def _delay(rule: Rule) -> float:
    try:
        return delay_s(rule.after)
    except InvalidDelay as error:
        raise InvalidRule("after", error.problem, error.remedy) from error


def _picture(key: str, source: str, context: RuleContext, variables: Variables) -> Picture:
    """An image: a template of a URL or data URL, or, if there are no placeholders, a file."""
    template = _template(key, source, context, variables)
    written = source.strip()
    if any(mark in source for mark in ("{{", "{%", "{#")) or is_link(written) or written.startswith("data:"):
        return template
    if not context.folders:
        raise InvalidRule(
            key, f"files such as {written[:80]!r} cannot be used here", " Write a URL or a data: URL."
        )
    path = context.folders[0] / written
    try:
        if not inside(path, context.folders).is_file():
            raise InvalidRule(
                key,
                f"the file {written[:80]!r} does not exist beside the rules",
                " Write a file, a URL or a data: URL.",
            )
    except BadImage as error:
        raise InvalidRule(key, str(error)) from error
    except OSError as error:  # such as a name that is too long
        raise InvalidRule(
            key,
            f"the file {written[:80]!r} cannot be read: {error.strerror}",
            " Write a file, a URL or a data: URL.",
        ) from error

    async def file(_names: Names) -> File:
        return File(path=path, folders=context.folders)

    return file


def _template(key: str, source: str, context: RuleContext, variables: Variables) -> Template:
    if not source.strip():
        raise InvalidRule(key, "the text is empty", " Write a text, or leave the key out.")
    try:
        return compile_template(source, context.evaluator, variables)
    except RuleError as error:
        raise InvalidRule(key, str(error)) from error
