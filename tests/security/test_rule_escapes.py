"""Ways out of Jinja's sandbox, in conditions and templates. They are refused at load, or give nothing of Python's."""

from __future__ import annotations

import re

import pytest

from dispatcher.plugins.errors import RuleError
from dispatcher.rules.expressions import Condition, compile_template
from midjourney.decode import decode_task

ESCAPES = [
    "''.__class__.__mro__[1].__subclasses__()",
    "''['__class__']",
    "''|attr('__class__')",
    "''|attr('__cla' ~ 'ss__')",
    "task|attr('__init__')|attr('__globals__')",
    "task.__init__.__globals__['__builtins__']",
    "task['__class__']",
    "task.prompt.format.__globals__",
    "'{0.__class__}'.format(task) == 'x'",
    "'{0.__class__.__mro__}'|format(task)",
    "'%s'|format(task.__class__)",
    "'{t.__class__}'.format_map({'t': task})",
    "[task]|map(attribute='__class__')|list",
    "[task]|groupby('__class__')|list",
    "[task]|selectattr('__class__')|list",
    "[task]|sum(attribute='__class__')",
    "self.__init__",
    "self._TemplateReference__context",
    "cycler.__init__.__globals__",
    "lipsum.__globals__['os']",
    "joiner.__init__",
    "namespace.__init__",
    "config",
    "request",
    "(1).__class__",
    "().__class__.__base__",
    "{}.__class__",
    "task.prompt.__str__.__self__",
    "chain.__class__",
    "event.__struct_fields__",
]


TASK = decode_task(b'{"id": "1", "status": "SUCCESS", "prompt": "a cat"}')
PYTHONS = re.compile(r"<(class|function|module|method|slot|built-in|bound)|__\w+__|subclasses")


async def made_by(source: str) -> str:
    """What a template makes of it; "" where it is refused, when it is loaded or when it is run."""
    try:
        return str(
            await compile_template("{{ " + source + " }}")({"task": TASK, "chain": None, "event": None})
        )
    except RuleError:
        return ""


@pytest.mark.parametrize("source", ESCAPES)
async def test_no_template_reaches_python(source: str) -> None:
    """What is sent holds nothing of Python's."""
    assert not PYTHONS.search(await made_by(source))


@pytest.mark.parametrize("source", ESCAPES)
async def test_no_condition_reaches_python(source: str) -> None:
    """Asked so that only somebody who has reached something says yes."""
    try:
        verdict = await Condition(f"'class' in ({source})|string")(
            {"task": TASK, "chain": None, "event": None}
        )
        reached = verdict.holds
    except RuleError:
        reached = False
    assert not reached


async def test_what_is_no_escape_is_taken() -> None:
    """So that the tests above refuse for the right reason."""
    assert (await Condition("task.prompt|length > 3")({"task": TASK})).holds
    assert await made_by("task.prompt") == "a cat"
    assert await made_by("'<class>'") == "<class>"
