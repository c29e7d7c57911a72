"""/api/explain: the history of a task."""

from __future__ import annotations

from starlette.requests import Request

from hooks.api import shapes
from hooks.api.answers import Explanation
from hooks.problems import Problem
from storage.engine import Database
from storage.reading import explanation, pages


class Explanations:
    """The handler of /api/explain."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def explain(self, request: Request) -> tuple[int, Explanation]:
        """Return a task's history. `upstream` is needed if several upstreams have a task with this id."""
        task_id, upstream = request.path_params["task_id"], request.query_params.get("upstream", "")
        upstreams = [upstream] if upstream else await self._upstreams_of(task_id)
        if len(upstreams) > 1:
            raise Problem(
                422,
                f"Several upstreams have a task {task_id!r}; name one as `upstream`: {', '.join(upstreams)}",
            )
        found = None
        if upstreams:
            found = await self._database.read(
                lambda connection: explanation.explained(connection, upstreams[0], task_id)
            )
        if found is None:
            raise Problem(404, f"There is no task {task_id!r}")
        return 200, shapes.explained_shape(found)

    async def _upstreams_of(self, task_id: str) -> list[str]:
        return await self._database.read(lambda connection: pages.upstreams_of_task(connection, task_id))
