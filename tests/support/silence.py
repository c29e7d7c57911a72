"""One server of ours at many upstreams that leave it in doubt, each with its own manners: for tests of what we conclude."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.conftest import HookchainServer
from tests.conftest import _eventually as eventually
from tests.hostile.desk import Trouble
from tests.hostile.manners import Manners
from tests.hostile.tasks import Task
from tests.hostile.upstream import Hostile

UPSTREAM = """
[upstreams.{name}]
url = "{url}"
key = "sk-1"
dialect = "trueai"
concurrency = 8
timeout_s = {timeout_s}
settle_after_s = {settle_after_s}
look_after_s = 0.2
quiet_s = 0.7
"""

RULES = """
[[rules]]
name = "upscale-all"
on = "task.succeeded"
if = "task.is_grid and chain.depth == 0"
press = "U*"

[[rules]]
name = "answer-modal"
on = "submission.needs_modal"
modal = "{{ modal.prompt }} --zoom 1.8"
"""


class SilentSite:
    """A server, and its upstreams by name. Each upstream is silent: no callback settles what its answers leave open."""

    def __init__(self, cwd: Path, environment: dict[str, str]) -> None:
        self._cwd, self._environment = cwd, {"HOOKCHAIN_SECRET": "a test's secret"} | environment
        self._tables: list[str] = []
        self.upstreams: dict[str, Hostile] = {}
        self._lists: dict[str, int] = {}
        self.server: HookchainServer

    def add(
        self, name: str, *, timeout_s: float = 30, settle_after_s: float = 0.5, **manners: Any
    ) -> Hostile:
        """An upstream, before the server starts."""
        upstream = self.upstreams[name] = Hostile(Manners(is_silent=True, **manners), secret="sk-1")
        self._tables.append(
            UPSTREAM.format(name=name, url=upstream.url, timeout_s=timeout_s, settle_after_s=settle_after_s)
        )
        return upstream

    def start(self) -> None:
        """Start the server, or one that takes the place of the one that was killed."""
        (self._cwd / "hookchain.toml").write_text(RULES + "".join(self._tables))
        self._lists = {name: one.ledger.lists() for name, one in self.upstreams.items()}
        self.server = HookchainServer(self._cwd, self._environment)

    def stop(self) -> None:
        """The end of all."""
        self.server.http.close()
        self.server.end()
        # Together: each waits a second for requests that hang.
        with ThreadPoolExecutor(len(self.upstreams)) as pool:
            list(pool.map(Hostile.stop, self.upstreams.values()))

    def submissions(self, name: str, kind: str = "action") -> list[Any]:
        """What we think of this upstream's submissions of a kind."""
        found: list[Any] = self.server.get("/api/submissions?limit=500")["submissions"]
        return [one for one in found if one["upstream"] == name and one["kind"] == kind]

    def states(self, name: str, kind: str = "action") -> list[str]:
        """Their states, sorted."""
        return sorted(one["state"] for one in self.submissions(name, kind))

    def running(self, name: str, prompt: str) -> Task:
        """An imagine of ours that the upstream works on until `finish`."""
        upstream = self.upstreams[name]
        upstream.change(holds=True)
        self.server.submit(kind="imagine", prompt=prompt, upstream=name)
        [task] = upstream.ledger.until(
            lambda: [task for task in upstream.shelf.all() if task.prompt == prompt]
        )
        eventually(lambda: task.waits)  # it begins once its answer has gone out
        upstream.change(holds=False)
        return task

    def finish(self, name: str, task: Task) -> None:
        """It ends well, and its hook is told."""
        self.upstreams[name].finish(task)
        self.tell(name, task)

    def tell(self, name: str, task: Task) -> None:
        """Call back about one task, which the upstream itself does not."""
        upstream = self.upstreams[name]
        assert task.hook
        assert upstream.tell(task, task.hook) is not None

    def four_lost_presses(self, name: str, how: Trouble) -> Task:
        """A grid, a minute old, whose four U were pressed, taken and paid, and each answer was lost."""
        upstream = self.upstreams[name]
        grid = self.running(name, f"a cat of {name}")
        upstream.clock.advance(60)
        upstream.next_submit(how, of="action", times=4)
        self._lists[name] = upstream.ledger.lists()
        self.finish(name, grid)
        upstream.ledger.until(lambda: len(upstream.ledger.paid("upsample")) >= 4)
        return grid

    def hook(self, name: str) -> str:
        """The notifyHook to register at one of the upstreams."""
        return self.server.find(rf"notifyHook to register at {name}: (https?://\S+)")

    def looked(self, name: str, times: int) -> None:
        """Wait until the list was asked for so often since the presses were sent, or the process began."""
        ledger = self.upstreams[name].ledger
        ledger.until(lambda: ledger.lists() >= self._lists[name] + times)
