"""Conditions and templates over the tasks of a chain, as rules on joins use them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from dispatcher.plugins.chain_tasks import ChainTask
from dispatcher.plugins.errors import RuleError
from dispatcher.rules.confined import evaluate_confined
from dispatcher.rules.expressions import Condition, Evaluator, compile_template, evaluate_here
from dispatcher.rules.values import LONGEST_LIST


def ended(number: int, state: str = "succeeded", **fields: Any) -> ChainTask:
    """An upscale of a grid."""
    task: dict[str, Any] = {
        "id": f"t{number}",
        "kind": "upscale",
        "label": f"U{number}",
        "state": state,
        "status": "SUCCESS",
        "action": "UPSCALE",
        "prompt": "a cat",
        "image_url": f"https://x/{number}.png",
        "failure": "",
        "failure_kind": "",
        "parent_id": "grid",
        "depth": 1,
        "upstream": "main",
    }
    return ChainTask(**(task | fields))


def names(*tasks: ChainTask) -> dict[str, Any]:
    return {
        "chain": SimpleNamespace(
            tasks=tasks, children=tasks, id="c", client="", depth=0, upstream="m", submissions=1
        )
    }


PICTURES = (
    "{{ chain.tasks | selectattr('state', 'equalto', 'succeeded') | map(attribute='image_url') | join(' ') }}"
)
LINES = "{% for one in chain.children %}{{ one.label }}: {{ one.image_url or one.failure }};{% endfor %}"

EVALUATORS = [evaluate_here, pytest.param(evaluate_confined, marks=pytest.mark.process)]


@pytest.mark.parametrize("evaluator", EVALUATORS)
async def test_a_text_lists_the_tasks(evaluator: Evaluator) -> None:
    """As the reference shows it, in this process and in the confined one."""
    seen = names(ended(1), ended(2, "failed", image_url="", failure="banned"), ended(3))
    assert await compile_template(PICTURES, evaluator)(seen) == "https://x/1.png https://x/3.png"
    assert (
        await compile_template(LINES, evaluator)(seen)
        == "U1: https://x/1.png;U2: banned;U3: https://x/3.png;"
    )


@pytest.mark.parametrize("evaluator", EVALUATORS)
async def test_a_condition_counts_the_tasks(evaluator: Evaluator) -> None:
    """Two of three succeeded."""
    condition = Condition(
        "chain.tasks | selectattr('state', 'equalto', 'succeeded') | list | length == 2", evaluator
    )
    assert (await condition(names(ended(1), ended(2, "failed"), ended(3)))).holds
    assert not (await condition(names(ended(1), ended(2), ended(3)))).holds
    assert (await Condition("chain.tasks[0].kind == 'upscale'", evaluator)(names(ended(1)))).holds


@pytest.mark.parametrize("evaluator", EVALUATORS)
async def test_two_hundred_tasks_with_long_prompts_are_seen_whole(evaluator: Evaluator) -> None:
    """Although all of them together are longer than any other value may be."""
    seen = names(*(ended(number, prompt="cat " * 1000) for number in range(200)))
    assert (await compile_template(PICTURES, evaluator)(seen)).split()[-1] == "https://x/199.png"
    assert (await Condition("chain.tasks | length == 200", evaluator)(seen)).holds


async def test_a_list_that_is_too_long_is_never_sent() -> None:
    """A condition may use its beginning."""
    seen = names(*(ended(number, prompt="cat " * 4000) for number in range(100)))
    assert (await Condition("chain.tasks | length > 1")(seen)).holds
    with pytest.raises(RuleError, match=f"chain.tasks has more than {LONGEST_LIST} characters"):
        await compile_template(PICTURES)(seen)


async def test_a_text_that_uses_the_chain_by_itself_works_without_a_list() -> None:
    """On signals that have none."""
    seen = {"chain": SimpleNamespace(id="c", client="", depth=0, upstream="main", submissions=1)}
    assert await compile_template("{{ (chain if true else 0).id }}")(seen) == "c"
