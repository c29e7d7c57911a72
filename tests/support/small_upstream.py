"""A small upstream of the mj-plus dialect, in a thread. What it remembers can be stored, and given to the next one."""

from __future__ import annotations

import contextlib
import itertools
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import msgspec

from hookchain.testing.payloads import UUID, grid, upscale

FIRST_ID = 1_700_000_000_000_001


class Submit(msgspec.Struct, frozen=True, kw_only=True):
    """One submit that reached it: its kind, the task that it is about, and the prompt or customId."""

    kind: str
    task_id: str
    asked: str
    at_ms: int

    @property
    def words(self) -> tuple[str, str, str]:
        """What was asked for, without when."""
        return self.kind, self.task_id, self.asked


class Known(msgspec.Struct, kw_only=True):
    """What it remembers: its tasks by id, and all submits."""

    tasks: dict[str, dict[str, Any]] = {}
    submits: list[Submit] = []


class SmallUpstream:
    """Finishes each task at once, unless its prompt says "slow", and calls its notifyHook.

    `troubled`: it refuses to list tasks, and words of the prompt say what goes wrong. "held" gets no answer, "hung up" an end of the
    connection; the upstream has taken both, unless "lost" is there too. "forbidden" is a banned prompt, "full" a full queue.
    """

    def __init__(self, known: Known | None = None, *, troubled: bool = False) -> None:
        self.known = known or Known()
        self.troubled = troubled
        self.key = "sk-1"
        self.reached = threading.Condition()
        self._ids = itertools.count(int(max(self.known.tasks, default=str(FIRST_ID - 1))) + 1)
        self._over = threading.Event()
        upstream = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                upstream._answer(self, None)

            def do_POST(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                upstream._answer(self, json.loads(self.rfile.read(length) or b"{}"))

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """End it; what it holds back is never answered."""
        self._over.set()
        self._server.shutdown()
        self._server.server_close()

    def wait_for(self, words: str) -> None:
        """Until a submit has reached it that asks for this."""
        with self.reached:
            if not self.reached.wait_for(lambda: any(words in one.asked for one in self.known.submits), 30):
                raise TimeoutError(words)

    def _answer(self, request: BaseHTTPRequestHandler, body: Any) -> None:
        path = request.path.removeprefix("/mj")
        if request.headers["mj-api-secret"] != self.key:
            return _send(request, 401, {"code": 4, "description": "wrong key"})
        if path.startswith("/submit/"):
            return self._submit(request, path.removeprefix("/submit/"), body)
        if path.endswith("/fetch"):
            found = self.known.tasks.get(path.split("/")[2])
            return _send(request, 200, found) if found else _send(request, 200, None)
        if self.troubled:
            return _send(request, 500, {"code": 9, "description": "no list today"})
        tasks = list(self.known.tasks.values())
        if path.endswith("list-by-condition"):
            tasks = [one for one in tasks if one["id"] in body["ids"]]
        return _send(request, 200, tasks)

    def _submit(self, request: BaseHTTPRequestHandler, kind: str, body: dict[str, Any]) -> None:
        asked = body.get("prompt") or body.get("customId") or ""
        trouble = asked if self.troubled else ""
        with self.reached:
            task_id = body.get("taskId", "")
            at_ms = time.time_ns() // 1_000_000
            self.known.submits.append(Submit(kind=kind, task_id=task_id, asked=asked, at_ms=at_ms))
            task = self._task(kind, body, self.known.tasks.get(task_id, {}))
            if not any(word in trouble for word in ("lost", "forbidden", "full")):
                self.known.tasks[task["id"]] = task
            self.reached.notify_all()
        if "held" in trouble:
            self._over.wait()
        elif "hung up" in trouble:
            request.close_connection = True
        elif "forbidden" in trouble:
            _send(request, 200, {"code": 24, "description": "banned prompt"})
        elif "full" in trouble:
            _send(request, 200, {"code": 23, "description": "queue full"})
        else:
            code = 21 if task["status"] == "MODAL" else 1
            _send(request, 200, {"code": code, "description": "Submit success", "result": task["id"]})
            self.call_back(task)

    def _task(self, kind: str, body: dict[str, Any], parent: dict[str, Any]) -> dict[str, Any]:
        if kind == "modal":
            return parent | {"prompt": body.get("prompt", "")} | _shown(parent["id"])
        id = str(next(self._ids))
        now_ms = time.time_ns() // 1_000_000
        fields = {
            "id": id,
            "state": body.get("state", ""),
            "submitTime": now_ms,
            "properties": {"notifyHook": body.get("notifyHook", "")},
        }
        custom_id = body.get("customId", "")
        if "CustomZoom" in custom_id:
            return (
                upscale(prompt=parent["prompt"])
                | fields
                | {"status": "MODAL", "action": "OUTPAINT", "buttons": []}
            )
        if "upsample" in custom_id:
            number = int(custom_id.split("::")[3])
            return upscale(prompt=parent["prompt"], number=number) | fields | _shown(id, is_grid=False)
        prompt = body.get("prompt") or parent.get("prompt", "")
        task = grid(prompt=prompt) | fields | _shown(id)
        if "slow" in prompt:
            task |= {"status": "IN_PROGRESS", "progress": "50%", "buttons": []}
        return task | ({"action": "VARIATION"} if custom_id else {})

    def call_back(self, task: dict[str, Any], hook: str = "") -> None:
        """Tell the task's notifyHook, or the given one, how far it is."""
        hook = hook or task["properties"]["notifyHook"]
        with contextlib.suppress(httpx.HTTPError):  # the server has been killed
            httpx.post(hook, json=task, timeout=10, trust_env=False, verify=False)


def _shown(id: str, *, is_grid: bool = True) -> dict[str, Any]:
    """Its end, with buttons of its own: a job's button is pressed once in a chain."""
    job = UUID[:-4] + id[-4:]
    buttons = [
        *({"customId": f"MJ::JOB::upsample::{n}::{job}", "label": f"U{n}"} for n in (1, 2, 3, 4)),
        *({"customId": f"MJ::JOB::variation::{n}::{job}", "label": f"V{n}"} for n in (1, 2)),
    ]
    single = [{"customId": f"MJ::CustomZoom::{job}", "label": "Custom Zoom"}]
    end = {"status": "SUCCESS", "progress": "100%", "finishTime": time.time_ns() // 1_000_000}
    return end | {"buttons": buttons if is_grid else single}


def _send(request: BaseHTTPRequestHandler, status: int, body: object) -> None:
    data = json.dumps(body).encode() if body is not None else b""
    request.send_response(status)
    request.send_header("content-type", "application/json")
    request.send_header("content-length", str(len(data)))
    request.end_headers()
    request.wfile.write(data)
