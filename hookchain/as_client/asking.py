"""How the requests of clients are written down: submits, questions for a task, and others that are free."""

from __future__ import annotations

from collections.abc import Mapping

from hookchain.as_client.answer import Answer, Need, fields_of
from hookchain.as_client.needs import Shape, known_key, ok, problem_of, readable, task
from hookchain.as_client.steps import Step

UNKNOWN = "1000000000000001"
"""An id that nobody has: it is from before there was Midjourney."""

PROMPT = "a grey square on white paper, for {}"
"""Its own for each client: with one key for all, the same order at the same time would be the same task."""

PICTURE = (
    "data:image/png;base64,"
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR42mNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
)
ANY = Shape()
"""The least that every client needs of a task: a status that it knows, and whole numbers for times."""


def submit(path: str, name: str, body: Mapping[str, object], *needs: Need, prefix: str = "/mj") -> Step:
    """A submit, whose id is remembered under its name."""
    return Step(name=name, path=f"{prefix}/{path}", body=body, makes=name, needs=(ok, readable, *needs))


def fetch(name: str, shape: Shape = ANY, *needs: Need, until_end: bool = True) -> Step:
    """The question for a task, once or until it has ended."""
    return Step(
        name=f"fetch {name}",
        path=f"/mj/task/${name}/fetch",
        of=name,
        until_end=until_end,
        needs=(ok, readable, task(shape), *needs),
    )


def asked(path: str, *needs: Need, body: Mapping[str, object] | None = None, name: str = "") -> Step:
    """A question that costs nothing."""
    return Step(name=name or path.removeprefix("/mj/"), path=path, body=body, needs=(readable, *needs))


def message(shape: Shape, *needs: Need) -> Need:
    """What a client needs of a message to its hook: SUCCESS with both times, and more."""

    def check(answer: Answer) -> str:
        fields = fields_of(answer)
        if problem := problem_of(fields, shape):
            return problem
        times = fields.get("submitTime"), fields.get("finishTime")
        if fields.get("status") == "SUCCESS" and not all(isinstance(time, int) for time in times):
            return f"SUCCESS with submitTime and finishTime {times!r}: it shows the time in between"
        return next((problem for need in needs if (problem := need(answer))), "")

    return check


LET_IN = Step(name="fetch of an unknown task", path=f"/mj/task/{UNKNOWN}/fetch", needs=(known_key,))
"""For a client that asks nothing but for what it has ordered."""
