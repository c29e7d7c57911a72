"""`--forks N`: the tests run in N processes that are forked after one collection.

With pytest-xdist each worker imports and collects all tests again: three seconds of processor for each of six. These processes are
copies of one that has done it. That one runs no test itself: it hands out some tests at a time, reports what became of them, and
forks another process if one dies. Where a fork without an exec is not safe (macOS), `-n N` of pytest-xdist does the same.
"""

from __future__ import annotations

import gc
import multiprocessing
import traceback
import warnings
from collections import deque
from collections.abc import Iterator
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Literal

import pytest
from _pytest.threadexception import collect_thread_exception
from _pytest.unraisableexception import collect_unraisable

_context = multiprocessing.get_context("fork")

MOST = 8
"""Tests of one file that a process is given at once. Of those that start processes it is given one: they may take long."""

Kind = Literal["more", "runs", "report", "warning", "broken"]
"""What a process says: it needs more tests; it runs the test of this number; a report; a warning; an error that is no test's."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare `--forks`."""
    parser.addoption("--forks", type=int, default=0, help="run the tests in so many forked processes")


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """Run the tests in processes, unless there is nothing to run, or a debugger is to run here."""
    option = session.config.option
    if option.forks < 2 or option.collectonly or option.usepdb or session.testsfailed:
        return None
    # What pytest would print before each file says nothing where files run at the same time.
    if reporter := session.config.pluginmanager.getplugin("terminalreporter"):
        reporter.showfspath = False
    _Forks(session).run(option.forks)
    return True


def units(items: list[pytest.Item]) -> Iterator[list[int]]:
    """The numbers of tests that run one after the other in one process: a whole group, or some neighbours of one file."""
    groups: dict[str, list[int]] = {}
    for number, item in enumerate(items):
        groups.setdefault(_group(item), []).append(number)
    unit: list[int] = []
    for number, item in enumerate(items):
        if name := _group(item):
            if group := groups.pop(name, None):
                yield group
            continue
        is_long = item.get_closest_marker("process") is not None
        if unit and (is_long or len(unit) == MOST or items[unit[-1]].path != item.path):
            yield unit
            unit = []
        unit.append(number)
        if is_long:
            yield unit
            unit = []
    if unit:
        yield unit


def _group(item: pytest.Item) -> str:
    """As pytest-xdist's `loadgroup` names it."""
    return "_".join(sorted({str(marker.args[0]) for marker in item.iter_markers("xdist_group")}))


class _Worker:
    """A process, as its parent knows it."""

    def __init__(self, session: pytest.Session, number: int, others: list[_Worker]) -> None:
        self.connection, theirs = _context.Pipe()
        self.given: deque[int] = deque()
        """Tests that it has been given, and has not begun."""
        self.running: int | None = None
        parents = [self.connection, *(other.connection for other in others)]
        self.process = _context.Process(target=_work, args=(session, number, theirs, parents))
        self.process.start()
        theirs.close()


class _Forks:
    """Hands out tests, and reports."""

    def __init__(self, session: pytest.Session) -> None:
        self._session = session
        self._config = session.config
        self._units = deque(units(session.items))
        self._workers: list[_Worker] = []
        self._forked = 0

    def run(self, forks: int) -> None:
        """Returns when every test has been reported. Raises what `pytest_runtestloop` raises if that ends early."""
        self._config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]  # one for all of them
        try:
            for _ in range(min(forks, len(self._units))):
                self._fork()
            while self._workers:
                ready = wait([worker.connection for worker in self._workers])
                for worker in [one for one in self._workers if one.connection in ready]:
                    self._hear(worker)
        finally:
            for worker in self._workers:  # after an error, or Ctrl-C, which they have had too
                worker.connection.close()
            for worker in self._workers:
                worker.process.join()
        if self._session.shouldfail:
            raise self._session.Failed(self._session.shouldfail)
        if self._session.shouldstop:
            raise self._session.Interrupted(self._session.shouldstop)

    def _fork(self) -> None:
        self._workers.append(_Worker(self._session, self._forked, self._workers))
        self._forked += 1

    def _hear(self, worker: _Worker) -> None:
        kind: Kind
        try:
            kind, content = worker.connection.recv()
        except (EOFError, ConnectionResetError):
            self._ended(worker)
            return
        if kind == "more":
            unit = None if self._is_to_stop or not self._units else self._units.popleft()
            worker.given.extend(unit or ())
            worker.connection.send(unit)
        elif kind == "runs":
            worker.running = worker.given.popleft()
        elif kind == "report":
            self._report(self._config.hook.pytest_report_from_serializable(config=self._config, data=content))
        elif kind == "warning":
            self._config.hook.pytest_warning_recorded.call_historic(kwargs=content)
        else:
            raise RuntimeError(f"a process that runs tests broke:\n{content}")

    @property
    def _is_to_stop(self) -> bool:
        return bool(self._session.shouldfail or self._session.shouldstop)

    def _report(self, report: pytest.TestReport) -> None:
        hook = self._config.hook
        hook.pytest_runtest_logreport(report=report)
        if report.when == "teardown":
            hook.pytest_runtest_logfinish(nodeid=report.nodeid, location=report.location)

    def _ended(self, worker: _Worker) -> None:
        """If it has died, its test has failed, and another process runs what else it was given."""
        worker.connection.close()
        worker.process.join()
        self._workers.remove(worker)
        if worker.process.exitcode == 0:
            return
        if worker.running is not None:
            item = self._session.items[worker.running]
            why = f"the process that ran this test ended with exit code {worker.process.exitcode}"
            self._report(
                pytest.TestReport(item.nodeid, item.location, {}, "failed", longrepr=why, when="call")
            )
        if worker.given:
            self._units.appendleft(list(worker.given))
        if self._units and not self._is_to_stop:
            self._fork()


def _work(session: pytest.Session, number: int, parent: Connection, parents: list[Connection]) -> None:
    """Run what the parent gives, until it gives no more or is gone."""
    for connection in parents:
        connection.close()
    _become(session.config, number, parent)
    try:
        last = _run(session, parent)
        _look_for_what_was_left(session.config, last)
    except (KeyboardInterrupt, EOFError, BrokenPipeError):
        session._setupstate.teardown_exact(None)
    except BaseException:
        parent.send(("broken", traceback.format_exc()))
        session._setupstate.teardown_exact(None)
    parent.close()


def _become(config: pytest.Config, number: int, parent: Connection) -> None:
    """Share nothing with the other processes: no directory, no file of captured output, and no terminal."""
    factory = config._tmp_path_factory  # type: ignore[attr-defined]
    own: Path = factory.getbasetemp() / f"w{number}"
    own.mkdir(mode=0o700)
    factory._basetemp = own
    plugins = config.pluginmanager
    capture = plugins.getplugin("capturemanager")
    assert capture is not None
    capture.stop_global_capturing()
    capture.start_global_capturing()
    capture.suspend_global_capture()
    plugins.unregister(name="terminalreporter")
    plugins.register(_Reporter(config, parent))


class _Reporter:
    """Sends the parent each report."""

    def __init__(self, config: pytest.Config, parent: Connection) -> None:
        self._config = config
        self._parent = parent

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Set-up, call and teardown of a test."""
        data = self._config.hook.pytest_report_to_serializable(config=self._config, report=report)
        self._parent.send(("report", data))

    def pytest_warning_recorded(
        self,
        warning_message: warnings.WarningMessage,
        when: str,
        nodeid: str,
        location: tuple[str, int, str] | None,
    ) -> None:
        """A warning that is no error. Its class may be unknown to the parent, its text is not."""
        text = f"{warning_message.category.__name__}: {warning_message.message}"
        shown = warnings.WarningMessage(text, UserWarning, warning_message.filename, warning_message.lineno)
        fields = {"warning_message": shown, "when": when, "nodeid": nodeid, "location": location}
        self._parent.send(("warning", fields))


def _look_for_what_was_left(config: pytest.Config, last: pytest.Item | None) -> None:
    """What pytest finds at the end of a process: the last test did it, or another one before."""
    try:
        gc.collect()
        collect_unraisable(config)
        collect_thread_exception(config)
    except Exception:
        if last is None:
            raise
        why = f"found after the last test of this process\n\n{traceback.format_exc()}"
        report = pytest.TestReport(last.nodeid, last.location, {}, "failed", longrepr=why, when="teardown")
        config.hook.pytest_runtest_logreport(report=report)


def _run(session: pytest.Session, parent: Connection) -> pytest.Item | None:
    """The last test that it has run."""
    item: pytest.Item | None = None
    waiting: deque[int] = deque()
    is_more = True
    while True:
        # What comes next decides which fixtures stay.
        if is_more and len(waiting) < 2:
            parent.send(("more", None))
            unit: list[int] | None = parent.recv()
            waiting.extend(unit or ())
            is_more = unit is not None
            continue
        if not waiting:
            return item
        number = waiting.popleft()
        parent.send(("runs", number))
        following = session.items[waiting[0]] if waiting else None
        item = session.items[number]
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if session.shouldfail or session.shouldstop:
            session._setupstate.teardown_exact(None)
            return item
