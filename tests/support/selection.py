"""Which tests run when: what needs another process is marked so by what it uses, and long tests come first.

`make quick` runs what is not marked `process`. So that the mark stays true, no test may start a process there.
"""

from __future__ import annotations

import gc
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from _pytest.nodeid import coerce_node_id

ROOT = Path(__file__).parent.parent

STARTS_A_PROCESS = frozenset(
    {
        "start_server",
        "start_sandbox",
        "start_worker",
        "shop",
        "postgres_itself",
        "postgres_server",
        "chromium",
        "certificate",
        "durable_server",
        "wheel",
    }
)
"""Fixtures that start one. Fixtures that use these count too."""

_ALL_START_ONE = ("browser",)
"""Directories whose tests all start one. Files say so in a line of their own, `pytestmark = pytest.mark.process`."""

_LONG = (
    "promises",
    "browser",
    "deploy",
    "test_tutorial.py",
    "test_crash_points.py",
    "test_extras.py",
    "test_namesakes.py",
    "test_packaging.py",
    "test_pgbouncer.py",
)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not even import what would be left out whole: each of the workers would."""
    if "not process" not in str(config.option.markexpr):
        return None
    if collection_path.suffix == ".py":
        return _SAYS_SO.search(collection_path.read_text()) is not None or None
    return collection_path.name in _ALL_START_ONE or None


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Iterator[None]:
    """Mark and sort. No worker is left with a long test at the end, and what is slow to make is made in one worker.

    pytest-xdist 3.8 tells its scheduler the group of a test at the end of its id, but puts that where pytest 9.2 no longer looks:
    without the lines at the end, each worker had a browser and built the wheel.
    """
    for item in items:
        if _needs_a_process(item):
            item.add_marker(pytest.mark.process)
        if group := _group(item):
            item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=lambda item: not any(part in _LONG for part in item.path.relative_to(ROOT).parts))
    yield
    for item in items:
        with_group = getattr(item, "_nodeid", item.nodeid)
        if with_group != item.nodeid:
            item._id = coerce_node_id(with_group)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Keep the garbage collector away from thousands of tests that stay to the end, while they are made and after."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """What there is now is looked through once more, and never again."""
    gc.collect()
    gc.freeze()


def _group(item: pytest.Item) -> str:
    """Tests that share a browser, an environment in which the wheel is installed, or what is made once for many of them."""
    if "browser" in item.path.parts:
        return "browser-phone" if "phone" in item.name else "browser-desk"
    fixtures = set(getattr(item, "fixturenames", ()))
    if "large" in fixtures:
        return "large"
    return item.path.stem if {"wheel", "built", "answers"} & fixtures else ""


_SAYS_SO = re.compile(r"^pytestmark = pytest\.mark\.process$", re.MULTILINE)


def _needs_a_process(item: pytest.Item) -> bool:
    if any(part in _ALL_START_ONE for part in item.path.relative_to(ROOT).parts):
        return True
    fixtures = set(getattr(item, "fixturenames", ()))
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    return bool(fixtures & STARTS_A_PROCESS) or "postgres" in parameters.values()


_STARTING = frozenset({"subprocess.Popen", "os.fork", "os.posix_spawn", "os.system"})
"""Audit events, see the table of audit events in Python's documentation."""


class _Watch:
    forbidden = ""

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        if event in _STARTING and self.forbidden:
            raise AssertionError(f"{self.forbidden} starts a process: mark it with @pytest.mark.process")


_watch = _Watch()


def pytest_configure(config: pytest.Config) -> None:
    """Watch for processes where tests that start one are left out."""
    if "not process" in str(config.option.markexpr):
        sys.addaudithook(_watch)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Name the test that runs to the watch: what its fixtures start counts too."""
    _watch.forbidden = item.nodeid
    try:
        return (yield)
    finally:
        _watch.forbidden = ""
