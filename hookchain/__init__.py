"""hookchain's plugin API: the signals, what a receiver gets, and how it says how to go on.

    from hookchain import task_succeeded

    @task_succeeded.connect_via("IMAGINE")
    async def upscale_all(action, *, task, chain, **_):
        await chain.press("U*")

Plugins import this package and no other.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hookchain.plugin_api import *  # noqa: F403  (the names of its __all__)

__version__ = "0.1.0"

_API = "hookchain.plugin_api"


def __getattr__(name: str) -> Any:
    """A name of the API, which is loaded when the first is asked for: a command that needs none starts in half the time."""
    if name.startswith("__") and name != "__all__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if _API not in sys.modules:
        import_module("hookchain.namesakes").check("start Python with -P, or from another folder")
    return getattr(import_module(_API), name)
