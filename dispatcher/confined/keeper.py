"""Keeps a confined process: starts it for the first question, and ends it at a deadline or after a minute without questions.

The next question then starts another. Questions come from any event loop; a single thread, which lives as long as the process, asks
them one after the other. A thread per question would be slower: on a busy machine starting a thread delays a loop by 10 ms.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
from concurrent.futures import Future

import structlog

from dispatcher.confined import child
from dispatcher.confined.frames import ANSWERED, NO_MEMORY, Refused, framed, read
from dispatcher.confined.process_limits import CAN_LIMIT

log = structlog.get_logger("hookchain")

LARGEST_ANSWER = 128 * 1024 * 1024

IDLE_S = 60.0
"""Seconds without a question after which the process ends: it uses 20 to 70 MB, and a new one starts in 0.1 s."""

_PASSED_ON = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PYTHONHOME", "SYSTEMROOT")
"""Variables that an interpreter in an unusual place needs. No others are passed on: the environment contains secrets."""

_CRASHES = ("SIGSEGV", "SIGBUS", "SIGABRT", "SIGILL", "SIGFPE")


class Overran(Refused):
    """The answer needs more time or memory than allowed; asking again would not help."""


class Broken(Exception):
    """The process ended for a reason other than the question; asking again may help."""


def clean_environment() -> dict[str, str]:
    """An environment in which a process finds the modules that this one finds, but no secrets."""
    path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)
    return {name: os.environ[name] for name in _PASSED_ON if name in os.environ} | {"PYTHONPATH": path}


class Confined:
    """A process that answers questions with the function `answer` of `module`. `subject` is what they are about, for errors.

    `processor_s` limits the processor time of one answer, and `memory_bytes` the memory that the process may use in addition to
    its own code, both only on platforms that have such limits (see `limits`). `within_s`, by the clock, and `idle_s` work on
    all platforms.
    """

    def __init__(
        self,
        module: str,
        *,
        subject: str,
        memory_bytes: int,
        processor_s: float,
        within_s: float = 60.0,
        idle_s: float = IDLE_S,
    ) -> None:
        self._module, self._subject = module, subject
        self._memory_bytes, self._processor_s, self._within_s = memory_bytes, processor_s, within_s
        self._idle_s = idle_s
        self._questions: queue.SimpleQueue[tuple[bytes, Future[bytes]]] = queue.SimpleQueue()
        self._changing = threading.Lock()
        self._is_asking = False
        self._process: subprocess.Popen[bytes] | None = None
        self._is_late = False
        atexit.register(self.close)

    @property
    def pid(self) -> int | None:
        """The current process, or None."""
        return self._process.pid if self._process is not None else None

    async def ask(self, question: bytes) -> bytes:
        """Ask a question. Raises `Refused`, `Overran`, and `Broken`. A question that is cancelled before its turn is not asked."""
        answer: Future[bytes] = Future()
        with self._changing:
            self._questions.put((question, answer))
            if not self._is_asking:
                threading.Thread(target=self._ask_all, daemon=True, name="keeper").start()
                self._is_asking = True
        return await asyncio.wrap_future(answer)

    def _ask_all(self) -> None:
        """Ask questions until there has been none for a while; then end the process and this thread."""
        while True:
            try:
                question, answer = self._questions.get(timeout=self._idle_s)
            except queue.Empty:
                with self._changing:
                    if self._questions.empty():
                        self.close()
                        self._is_asking = False
                        return
                continue
            if not answer.set_running_or_notify_cancel():
                continue  # the caller has stopped waiting
            try:
                answer.set_result(self._ask(question))
            except Exception as error:  # raised again where the caller waits
                answer.set_exception(error)

    def _ask(self, question: bytes) -> bytes:
        process = self._running()
        deadline = threading.Timer(self._within_s, self._kill, [process])
        deadline.daemon = True
        deadline.start()
        try:
            body = self._exchange(process, question)
        except (OSError, EOFError, ValueError):
            self.close()
            raise self._why_ended(process.wait()) from None
        finally:
            deadline.cancel()
        return self._answer(body)

    def close(self) -> None:
        """End the process; the next question starts another."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):  # unwritten data does not matter
                pipe.close()  # type: ignore[union-attr]  # both are pipes
        process.wait()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is not None:
            self.close()  # the kernel or a person killed it between two questions
        if self._process is None:
            self._is_late = False
            limits = (str(self._memory_bytes), str(self._processor_s))
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-W", "ignore", "-m", child.__name__, self._module, *limits],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=clean_environment(),
                cwd="/",
            )
        return self._process

    def _exchange(self, process: subprocess.Popen[bytes], question: bytes) -> bytes:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(framed(question))
        process.stdin.flush()
        return read(process.stdout, LARGEST_ANSWER)

    def _kill(self, process: subprocess.Popen[bytes]) -> None:
        self._is_late = True
        process.kill()

    def _answer(self, body: bytes) -> bytes:
        ending, rest = body[:1], body[1:]
        if ending == ANSWERED:
            return rest
        if ending == NO_MEMORY:
            raise Overran(f"{self._subject} needs more than {self._memory_bytes // 1024**2} MB of memory")
        raise Refused(rest.decode())

    def _why_ended(self, code: int) -> Exception:
        if self._is_late:
            why = f"{self._subject} took more than {self._within_s:g} s by the clock"
            # Where processor time is limited, the question did not use it up: the machine is slow.
            return Broken(f"{why}; the machine is busy") if CAN_LIMIT else Overran(why)
        name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        if name in ("SIGPROF", "SIGXCPU"):
            return Overran(f"{self._subject} took more than {self._processor_s:g} s of processor time")
        if name in _CRASHES:
            return Overran(f"{self._subject} crashed the process that read it ({name})")
        log.warning("a helper process ended", why=name, module=self._module, cure="give it more memory")
        return Broken(f"the process for {self._subject} ended ({name}); the machine may be short of memory")
