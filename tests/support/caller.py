"""A sender of callbacks that never stops, whatever it is answered."""

from __future__ import annotations

import threading
import time

import httpx

from tests.conftest import PATIENCE_S


class Caller:
    """Sends a callback of a task of its own again and again, and keeps what was answered."""

    def __init__(self, hook: str) -> None:
        self.answers: list[tuple[int, int]] = []
        self._hook = hook
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with httpx.Client(timeout=PATIENCE_S, trust_env=False, verify=False) as http:
            for number in range(100_000):
                if self._stop.is_set():
                    return
                body = {"id": f"foreign-{number}", "status": "SUBMITTED", "action": "IMAGINE"}
                self.answers.append((number, http.post(self._hook, json=body).status_code))
                time.sleep(0.02)  # a sender of ordinary pace

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()
