"""Who talks to the hostile upstream in its own tests: a listener at the hook, and a client."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx

from tests.hostile.upstream import PATIENCE_S, Hostile


class Listener:
    """What stands at a notifyHook: keeps each body as it came, with its headers."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, str]] = []
        self.came = threading.Condition()
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["content-length"]))
                encoding = self.headers.get("content-encoding") or ""
                with listener.came:
                    listener.heard.append((raw if encoding else json.loads(raw), encoding))
                    listener.came.notify_all()
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/notify"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    @property
    def statuses(self) -> list[str]:
        return [body["status"] for body, _ in self.heard]

    def until(self, question: Callable[[], Any]) -> None:
        """Wait until this is so; it is asked again whenever something comes."""
        with self.came:
            assert self.came.wait_for(question, PATIENCE_S), "nothing comes any more"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(PATIENCE_S)


class Client:
    """A client as simple as they come."""

    def __init__(self, upstream: Hostile, hook: str = "") -> None:
        self.upstream, self.hook = upstream, hook
        self.http = httpx.Client(
            base_url=f"{upstream.url}/mj", timeout=PATIENCE_S, trust_env=False, verify=False
        )
        upstream.on_stop.append(self.http.close)

    def submit(self, kind: str, **body: Any) -> Any:
        """The envelope, once every callback that follows has gone out."""
        answer = self.http.post(f"/submit/{kind}", json={"notifyHook": self.hook, "state": "mine", **body})
        self.upstream.caller.wait_until_none_is_due()
        return answer.json()

    def fetch(self, task_id: str) -> Any:
        return self.http.get(f"/task/{task_id}/fetch").json()

    def batch(self, *ids: str) -> list[str]:
        return [task["id"] for task in self.http.post("/task/list-by-condition", json={"ids": [*ids]}).json()]

    def press(self, task_id: str, label: str) -> Any:
        buttons = self.fetch(task_id)["buttons"]
        custom_id = next(one["customId"] for one in buttons if label in (one["label"], one["emoji"]))
        return self.submit("action", taskId=task_id, customId=custom_id)
