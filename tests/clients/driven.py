"""A client that somebody else wrote, as a process: it is told what to do, and tells what came of it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.conftest import PATIENCE_S

DRIVERS = Path(__file__).parent / "drivers"
MARK = "» "


class Driven:
    """A driver of ours and the client in it. `told` is what it has said so far, without the answers to our commands."""

    def __init__(self, command: list[str], *, cwd: Path, environment: Mapping[str, str]) -> None:
        self.told: list[Any] = []
        self._answers: list[Any] = []
        self._other: list[str] = []
        self._came = threading.Condition()
        self._process = subprocess.Popen(
            command,
            cwd=cwd,
            env={"PATH": os.environ["PATH"], "HOME": str(cwd), "PYTHONIOENCODING": "utf-8", **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._came:
                if not line.startswith(MARK):
                    self._other.append(line)
                elif "answer" in (told := json.loads(line.removeprefix(MARK))):
                    self._answers.append(told)
                else:
                    self.told.append(told)
                self._came.notify_all()
        with self._came:
            self._other.append("[its end]")
            self._came.notify_all()

    @property
    def output(self) -> str:
        """What the client has printed of itself."""
        return "".join(self._other)

    def do(self, **command: Any) -> Any:
        """Tell it to do something, and return what it answers."""
        assert self._process.stdin is not None
        before = len(self._answers)
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        self.until(lambda: len(self._answers) > before)
        return self._answers[before]

    def until(self, question: Callable[[], bool]) -> None:
        """Wait until this is so; it is asked again whenever the client says something."""
        with self._came:
            came = self._came.wait_for(lambda: question() or "[its end]" in self._other, PATIENCE_S)
            assert came, f"nothing comes any more: {self.told}\n{self.output}"
            assert question(), f"it has ended:\n{self.output}"

    def stop(self) -> None:
        """End it, and what it has started: tsx runs its program in a process of its own."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        self._process.stdin.close()
        self._process.stdout.close()
