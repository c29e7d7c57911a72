"""What a process of tests/support/forked.py has loaded when it is forked: all that a command loads, at once or when it needs it.

What a process imports late, every process would import again: that was half the processor time of a start.
"""

from __future__ import annotations

import contextlib
import gc
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from unittest.mock import MagicMock

from dispatcher.plugins import discovery
from hookchain.cli import MODULES
from hookchain.rules import rules_of
from hookchain.settings.load import load_settings
from hooks.api.routes import Api
from hooks.dashboard.routes import Dashboard
from midjourney.tls import trusted

_WHEN_NEEDED = (
    "aiosqlite",
    "alembic.command",
    "anyio._backends._asyncio",
    "ctypes",
    "hooks.http.protocol",
    "httpcore",
    "mako.template",
    "midjourney.transport.fast",
    "pydantic",
    "storage.driver.listen",
    "storage.driver.poolers",
    "storage.driver.postgres",
    "storage.migrate",
    "typer._adapters",
    "typer._click.decorators",
    "uvicorn.lifespan.on",
    "uvicorn.protocols.http.httptools_impl",
    "uvloop",
)

for _name in (*(f"hookchain.cli.{module}" for module in dict.fromkeys(MODULES.values())), *_WHEN_NEEDED):
    with contextlib.suppress(ImportError):  # no uvloop and no httptools on some systems
        import_module(_name)

# What each process would read again, or compile: certificate authorities, what is installed, and the paths of routes.
trusted()
installed = entry_points()
vars(discovery).update(entry_points=lambda *, group: installed.select(group=group))
for table in (Api, Dashboard):
    table.routes(MagicMock())  # `re` remembers the expressions

# What is kept of the kinds of settings and rules, such as the ranges of their numbers, is found out when the first are read.
rules_of(load_settings({"HOOKCHAIN_SECRET": "a test's secret"}, Path(__file__).parents[2]))

gc.collect()
# No process looks through these again.
gc.freeze()
