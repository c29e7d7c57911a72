"""A relay in front of the server: it answers submits with its own ids, while callbacks carry the server's ids."""

from __future__ import annotations

from msgspec.structs import replace

from midjourney.sandbox import chance
from midjourney.sandbox.engine import Engine
from midjourney.sandbox.jobs import Job
from midjourney.sandbox.wire import Answer


def renamed(answer: Answer, engine: Engine) -> Answer:
    """The answer with the relay's ids for its tasks. From now on, these ids are valid too."""
    if not isinstance(answer.result, str):
        return answer
    ids = [_name(engine, engine.find(task_id), task_id) for task_id in answer.result.split(",")]
    return replace(answer, result=",".join(ids))


def _name(engine: Engine, job: Job | None, task_id: str) -> str:
    if job is None or not engine.faults.strikes("two-ids", job.uuid):
        return task_id
    name = chance.snowflake("relay", job.uuid)
    engine.aliases[name] = job
    return name
