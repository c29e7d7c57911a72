"""hookchain's plugin API: the signals, the arguments of a receiver, and the ways to continue a chain.

    from hookchain import task_succeeded

    @task_succeeded.connect_via("IMAGINE")
    async def upscale_all(action, *, task, chain, **_):
        await chain.press("U*")

Plugins import only this package.
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
    """Load the API on first use of one of its names: commands that do not need it start in half the time."""
    if name.startswith("__") and name != "__all__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if _API not in sys.modules:
        import_module("hookchain.namesakes").check("start Python with -P, or in another folder")
    return getattr(import_module(_API), name)
