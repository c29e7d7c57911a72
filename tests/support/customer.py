"""A client of the gateway that knows nothing of hookchain, and the server at its own notifyHook."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx

from tests.conftest import PATIENCE_S

CLIENTS = """
[clients.ann]
key = "ann-key-1"
hook_hosts = ["127.0.0.1"]

[clients.bob]
key = "bob-key-1"
hook_hosts = ["127.0.0.1"]
"""
"""Two clients, whose hooks may be on this machine."""

ENDED = ("SUCCESS", "FAILURE")


class Customer:
    """Sends what unchanged clients send."""

    def __init__(self, url: str, name: str = "ann", *, prefix: str = "/mj") -> None:
        self.http = httpx.Client(
            base_url=f"{url}{prefix}",
            headers={"mj-api-secret": f"{name}-key-1"},
            timeout=PATIENCE_S,
            trust_env=False,
            verify=False,
        )

    def order(self, kind: str, *, key: str = "", **body: Any) -> Any:
        """The envelope that answers a submit. `key`: an Idempotency-Key."""
        headers = {"idempotency-key": key} if key else {}
        answer = self.http.post(f"/submit/{kind}", json=body, headers=headers)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def ticket(self, kind: str, *, key: str = "", **body: Any) -> str:
        """The id that answers a submit which is accepted."""
        told = self.order(kind, key=key, **body)
        assert told["code"] == 1, told
        return str(told["result"])

    def imagine(self, prompt: str = "a cat", **body: Any) -> str:
        return self.ticket("imagine", prompt=prompt, **body)

    def window(self, task_id: str, label: str) -> str:
        """The id of the window that a button opens."""
        told = self.press(task_id, label)
        assert told["code"] == 21, told
        return str(told["result"])

    def press(self, task_id: str, label: str, **body: Any) -> Any:
        """The envelope that answers the press of the button with this label."""
        return self.order("action", taskId=task_id, customId=self.button(task_id, label), **body)

    def button(self, task_id: str, label: str) -> str:
        """The customId of a button that the task shows."""
        return next(
            str(one["customId"])
            for one in self.fetch(task_id)["buttons"]
            if label in (one["label"], one["emoji"])
        )

    def fetch(self, task_id: str) -> Any:
        answer = self.http.get(f"/task/{task_id}/fetch")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def ids_of(self, path: str) -> list[str]:
        """The ids in a list."""
        return [task["id"] for task in self.http.get(path).json()]

    def among(self, *ids: str | int) -> list[Any]:
        """What the list of these ids shows."""
        answer: list[Any] = self.http.post("/task/list-by-condition", json={"ids": list(ids)}).json()
        return answer

    def has_ended(self, task_id: str) -> bool:
        return self.fetch(task_id)["status"] in ENDED

    def close(self) -> None:
        self.http.close()


@dataclass(frozen=True)
class Message:
    """One message that came to a client's hook."""

    at_s: float
    path: str
    headers: dict[str, str]
    raw: bytes

    @property
    def task(self) -> Any:
        return json.loads(self.raw)

    @property
    def standing(self) -> tuple[str, str]:
        """Its status and its percentage."""
        return self.task["status"], self.task["progress"]


class Mailbox:
    """What stands at a client's notifyHook. `answers` says what each message is answered with: a status, or 0 to hang up without a
    word. A mailbox of a given port may come later than its address is used."""

    def __init__(self, port: int = 0) -> None:
        self.came = threading.Condition(threading.RLock())
        self.tries: list[Message] = []
        """All messages, taken or not."""
        self.taken: list[Message] = []
        """The messages that were answered 2xx."""
        self.answers: Callable[[Message], int] = lambda _message: 200
        self.headers: dict[str, str] = {}
        """What each answer carries besides."""
        box = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["content-length"]))
                status = box._keep(Message(time.monotonic(), self.path, dict(self.headers.items()), raw))
                if not status:
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                self.send_response(status)
                for name, value in box.headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        self.url = f"http://{self.host}/notify"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def _keep(self, message: Message) -> int:
        status = self.answers(message)
        with self.came:
            self.tries.append(message)
            if 200 <= status < 300:
                self.taken.append(message)
            self.came.notify_all()
        return status

    def about(self, task_id: str) -> list[Message]:
        """The messages about a task that were taken, as they came."""
        with self.came:
            return [message for message in self.taken if message.task["id"] == task_id]

    def until_it_ends(self, task_id: str) -> list[Message]:
        """The messages about a task, once one of them says that it has ended."""
        self.until(lambda: any(one.task["status"] in ENDED for one in self.about(task_id)))
        return self.about(task_id)

    def until(self, question: Callable[[], Any]) -> None:
        """Wait until this is so; it is asked again whenever something comes."""
        with self.came:
            assert self.came.wait_for(question, PATIENCE_S), "nothing comes any more"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(PATIENCE_S)


def check_order(messages: list[Message], *, ends: str = "SUCCESS") -> None:
    """Each thing was told once, in the order in which it happened: SUBMITTED, each percentage, the end."""
    standings = [message.standing for message in messages]
    assert standings[0] == ("SUBMITTED", "0%"), standings
    assert standings[-1][0] == ends, standings
    between = [int(progress.removesuffix("%")) for status, progress in standings[1:-1]]
    assert {status for status, _ in standings[1:-1]} <= {"IN_PROGRESS"}, standings
    assert between == sorted(set(between)), standings
