"""Checks a rule file that somebody else wrote, in a confined process: Jinja evaluates constants when it parses an expression, and only
killing the process can stop that. Nothing in the file is run."""

from __future__ import annotations

import tomllib
from pathlib import Path

import msgspec

from dispatcher.confined.frames import Refused
from dispatcher.confined.keeper import Confined
from dispatcher.rules.compile import RuleContext
from dispatcher.rules.macro_tables import unused
from dispatcher.rules.mistakes import Mistake
from dispatcher.rules.sources import Source, find_in

process = Confined(
    "dispatcher.rules.foreign",
    subject="the rule file",
    memory_bytes=512 * 1024 * 1024,
    processor_s=10.0,
    within_s=60.0,
    idle_s=1.0,
)


class Foreign(msgspec.Struct, frozen=True, kw_only=True):
    """A rule file, what messages call it, and the folder of the files that it may name; "": it may name none."""

    name: str
    text: str
    directory: str = ""


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """The names of the rules that are right, and what is wrong or doubtful."""

    rules: list[str]
    mistakes: list[Mistake]
    warnings: list[Mistake]


async def judged(foreign: Foreign) -> Judgement:
    """Check a file. Raises `Refused` if that takes too much time or memory, or the text cannot be read at all."""
    return msgspec.msgpack.decode(await process.ask(msgspec.msgpack.encode(foreign)), type=Judgement)


def answer(question: bytes) -> bytes:
    """Check an encoded `Foreign` in the confined process. Raises `Refused`."""
    foreign = msgspec.msgpack.decode(question, type=Foreign)
    try:
        tables = tomllib.loads(foreign.text)
        context = RuleContext(directory=Path(foreign.directory) if foreign.directory else None)
        sources = [Source(file=foreign.name, text=foreign.text, tables=tables, context=context)]
        rules, mistakes = find_in(sources)
        warnings = [*(warning for rule in rules for warning in rule.warnings), *unused(sources)]
    except tomllib.TOMLDecodeError as error:
        raise Refused(f"{foreign.name} is not valid TOML: {error}") from error
    except RecursionError as error:
        raise Refused(f"{foreign.name} is nested too deeply") from error
    judgement = Judgement(rules=[rule.rule.name for rule in rules], mistakes=mistakes, warnings=warnings)
    return msgspec.msgpack.encode(judgement)
